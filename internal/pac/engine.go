package pac

import (
	"context"
	"net/netip"
	"sync"
	"time"

	"github.com/dlclark/regexp2/v2"
	"github.com/dop251/goja"
	"github.com/dop251/goja/parser"
)

// engine is an interpreter for one run.
type engine struct {
	name  string
	vm    *goja.Runtime
	ctx   context.Context // of the run, for lookups
	env   Env
	found map[string][]netip.Addr
}

// boundRegexps limits one match of the backtracking regular expressions, which
// goja uses for what Go's own cannot do, and which an interrupt does not stop.
// To goja a match that ran out of time is none: so as not to mislead a script,
// the limit is longer than any run. It is a variable of that package, which is
// read when an expression is compiled: hence set once, before any script.
var boundRegexps = sync.OnceFunc(func() { regexp2.DefaultMatchTimeout = maxTimeout + time.Second })

func newEngine(name string, env Env) *engine {
	e := &engine{name: name, vm: goja.New(), env: env, found: make(map[string][]netip.Addr)}
	e.vm.SetParserOptions(parser.WithDisableSourceMaps)
	e.vm.SetMaxCallStackSize(maxCalls)
	e.vm.SetTimeSource(env.Now)
	if _, err := e.vm.RunProgram(fence()); err != nil {
		panic(err) // a constant of ours
	}
	for name, f := range e.functions() {
		if err := e.vm.Set(name, f); err != nil {
			panic(err) // a new global takes any property
		}
	}
	return e
}

// entryPoint finds the function, declared in whatever way: const and let make
// no property of the global object.
var entryPoint = sync.OnceValue(func() *goja.Program {
	return goja.MustCompile("entry", `
typeof FindProxyForURLEx === "function" ? FindProxyForURLEx :
typeof FindProxyForURL === "function" ? FindProxyForURL : undefined`, false)
})

const fenceName = "fence"

// fence takes away what compiles text, which would go around the bounds of
// Parse, and what makes much memory of little text.
var fence = sync.OnceValue(func() *goja.Program {
	return goja.MustCompile(fenceName, `
(function (global) {
	for (const f of [function () {}, function* () {}, async function () {}])
		delete Object.getPrototypeOf(f).constructor;
	for (const name of ["eval", "Function", "ArrayBuffer", "SharedArrayBuffer", "DataView",
		"Int8Array", "Uint8Array", "Uint8ClampedArray", "Int16Array", "Uint16Array", "Int32Array",
		"Uint32Array", "Float32Array", "Float64Array", "BigInt64Array", "BigUint64Array"])
		delete global[name];
	const most = 1 << 20;
	const text = String.prototype;
	const repeat = text.repeat, padStart = text.padStart, padEnd = text.padEnd;
	const bounded = n => { if (n > most) throw new RangeError("text of more than " + most + " characters"); };
	text.repeat = function (n) { bounded(this.length * n); return repeat.call(this, n); };
	text.padStart = function (n, fill) { bounded(n); return padStart.call(this, n, fill); };
	text.padEnd = function (n, fill) { bounded(n); return padEnd.call(this, n, fill); };
})(this)`, false)
})
