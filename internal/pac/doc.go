// Package pac runs proxy auto-configuration scripts: JavaScript whose function
// FindProxyForURL says through which forward proxy a URL is reached.
//
// The usual path: [Open] makes a [Source] of a pac+https, pac+http, pac+file or
// pac+data URL; [Source.Script] fetches the script, or takes the kept copy;
// [Script.Find] asks it about one URL and returns its [Route]s in their order.
// Whoever has the text of a script already starts at [Parse].
//
// A script does nothing but compute. It sees no file and no network: names are
// looked up by [Env].Lookup alone. What bounds it:
//
//   - Source: 1 MiB, the limit of Chromium, and 1000 brackets open at a time.
//   - Time: [Env].Timeout for a run, 5 s for compiling. Loops of the script and
//     backtracking of its regular expressions are stopped. A single built-in
//     call over an enormous array cannot be: Find returns all the same, and
//     that call goes on in its goroutine until it is done.
//   - Stack: 1000 calls.
//   - Memory: a run is stopped when the heap of the process has grown by 256
//     MiB, seen every 10 ms. A single built-in call may take more between two
//     looks; those that make much of little (repeat, padStart, padEnd) are
//     bounded, and eval, Function and binary buffers are not there.
//   - Result: 64 KiB, of which 64 entries count.
//
// Each run has an interpreter of its own, so that no run sees what another left.
//
// The package finds no script: WPAD and the system's settings are not its work.
// It connects to no proxy either.
package pac
