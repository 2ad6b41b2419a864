package cli

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/pomerium/pomerium-cli/internal/check"
)

// checkTeller tells what a check finds, as it finds it: or, for machines, all of
// it at the end.
type checkTeller struct {
	*story
	screen *ui
	idle   time.Duration
	json   io.Writer // nil: people read it
	edge   string
	at     string // what the last line was about; "" after the title of a way

	several bool     // ways: each has a title
	named   []string // settings that were told of
}

func newCheckTeller(p *program, screen *ui, out io.Writer, f checkFlags) *checkTeller {
	live := isTerminal(p.Stdout) && p.Getenv("TERM") != "dumb" && p.Getenv("NO_COLOR") == ""
	t := &checkTeller{screen: screen, idle: f.idle, story: &story{w: &beside{screen.out, out}, paint: painter(live)}}
	if f.json {
		t.json, t.story.w = out, io.Discard
	}
	return t
}

// beside writes to a terminal that has the status line of another writer on it.
type beside struct {
	status *lockedWriter
	w      io.Writer
}

func (b *beside) Write(p []byte) (int, error) {
	b.status.mu.Lock()
	defer b.status.mu.Unlock()
	if b.status.last == "" {
		return b.w.Write(p)
	}
	_, _ = io.WriteString(b.status.w, eraseLine)
	defer func() { _, _ = io.WriteString(b.status.w, b.status.last) }()
	return b.w.Write(p)
}

// begin tells what decides about the way.
func (t *checkTeller) begin(r *check.Report) {
	t.edge, t.named = r.Edge, []string{"direct", "loopback"} // which settings are told of without
	for _, s := range r.Settings {
		t.named = append(t.named, s.Name)
	}
	t.say("%s", t.paint.bold("The way out"))
	used := slices.ContainsFunc(r.Settings, func(s check.Setting) bool { return s.Used })
	if !used {
		t.mark(t.paint.green, "ok", "no setting names a proxy", "directly")
	}
	for _, s := range r.Settings {
		if s.Used {
			t.mark(t.paint.green, "ok", s.Name, s.Value)
			continue
		}
		t.mark(t.paint.dim, "ignored", s.Name, s.Why)
	}
}

// Way implements check.Teller.
func (t *checkTeller) Way(w check.Way, number, of int) {
	t.at, t.several = "", of > 1
	if of > 1 {
		t.title(w, number, of)
	}
	if !w.Taken && w.Source != "" && !slices.Contains(t.named, w.Source) {
		by := w.Source
		if len(w.Hops) == 0 {
			by += ": directly"
		}
		t.mark(t.paint.green, "ok", "chosen by", by)
	}
	if w.Dead && !w.Taken {
		t.mark(t.paint.yellow, "note", "passed over for the moment", "it could not be reached within the last 5 minutes")
	}
}

func (t *checkTeller) title(w check.Way, number, of int) {
	title := "Way %d of %d: %s"
	if w.Taken {
		title = "On by way %d of %d: %s"
	}
	t.say("\n%s", t.paint.bold(fmt.Sprintf(title, number, of, w.Way)))
}

// patiently are the words for what is being waited for.
var patiently = map[string]string{
	check.StepConnect:     "walking the way",
	check.StepAnswer:      "asking the server",
	check.StepDestination: "opening a tunnel",
	check.StepUDP:         "looking for HTTP/3",
	check.StepTrips:       "timing round trips",
	check.StepSpeed:       "timing bytes",
}

// Waiting implements check.Teller.
func (t *checkTeller) Waiting(step string) (done func()) {
	if step == check.StepIdle {
		return t.screen.Waiting("leaving connections silent, for up to " + t.idle.String())
	}
	return t.screen.Waiting(patiently[step])
}

// Step implements check.Teller.
func (t *checkTeller) Step(s check.Step) {
	if s.At != t.at && s.At != "" {
		kind := "Forward proxy "
		if s.At == t.edge {
			kind = "Server "
		}
		if t.at != "" || !t.several {
			t.say("")
		}
		t.say("%s", t.paint.bold(kind+s.At))
		t.at = s.At
	}
	what, detail := stepWords(s)
	if s.State != check.OK && s.Error != "" && s.Name != check.StepWarning {
		detail = oneLine(gist(s))
	}
	switch {
	case s.Name == check.StepToken && (errors.Is(s.Err, errNoToken) || errors.Is(s.Err, errOldToken)):
		t.mark(t.paint.yellow, "sign in", what, detail)
	case s.State == check.Failed:
		t.line(t.paint.red(fmt.Sprintf("%10s", "FAILED")), what, detail)
	case s.State == check.Note:
		t.mark(t.paint.yellow, "note", what, detail)
	case s.State == check.Skipped:
		t.mark(t.paint.dim, "-", what, detail)
	case s.Millis > 0:
		t.event(time.Duration(s.Millis*float64(time.Millisecond)), what, detail)
	default:
		t.mark(t.paint.green, "ok", what, detail)
	}
}

// mark writes a line with a word in place of a time.
func (t *checkTeller) mark(paint func(string) string, word, what, detail string) {
	t.row(paint(fmt.Sprintf("%10s", word)), what, detail)
}

// end tells what comes of it all.
func (t *checkTeller) end(r *check.Report) error {
	if t.json != nil {
		return encode(t.json, r)
	}
	var bad []check.Step
	for _, w := range r.Ways {
		bad = append(bad, w.Steps...)
	}
	bad = append(bad, r.Steps...)
	failed := slices.DeleteFunc(slices.Clone(bad), func(s check.Step) bool { return s.State != check.Failed })
	t.say("\n%s", t.verdict(r, failed))
	t.advise("What helps:", bad, func(s check.Step) string { return s.Hint })
	t.advise("To ask of those who run the network:", bad, func(s check.Step) string { return s.Ask })
	return nil
}

// verdict is one line that says it all.
func (t *checkTeller) verdict(r *check.Report, bad []check.Step) string {
	taken := slices.IndexFunc(r.Ways, func(w check.Way) bool { return w.Taken })
	switch {
	case r.OK && taken >= 0 && slices.ContainsFunc(r.Ways, check.Way.Failed):
		return t.paint.yellow(fmt.Sprintf("It works, by way %d of %d.", taken+1, len(r.Ways)))
	case r.OK && r.Edge == "":
		return t.paint.green("Nothing is wrong so far.") + " --pomerium-url, or a destination, leads further."
	case r.OK:
		return t.paint.green("All of it works.")
	case r.Exit == exitSignIn && slices.ContainsFunc(bad, func(s check.Step) bool { return s.Token == "service-account" }):
		return t.paint.red("The way is free; the server does not take the service account.")
	case r.Exit == exitSignIn:
		return t.paint.yellow("The way is free; what is missing is a sign-in.")
	case slices.ContainsFunc(bad, func(s check.Step) bool { return inspected(s.Err) != "" }):
		return t.paint.red("Something on the way opens TLS and lets no tunnel through.")
	case r.Exit == exitEdge:
		return t.paint.red("The way is free; the server says no.")
	case len(bad) == 0:
		return t.paint.red("It does not work.")
	}
	last := bad[len(bad)-1]
	what, _ := stepWords(last)
	switch last.At {
	case "":
		return t.paint.red("It breaks at " + what + ".")
	case r.Edge:
		return t.paint.red("It breaks at the server " + last.At + ": " + what + ".")
	}
	return t.paint.red("It breaks at the forward proxy " + last.At + ": " + what + ".")
}

// advise lists what there is to say about steps, each once.
func (t *checkTeller) advise(title string, about []check.Step, text func(check.Step) string) {
	var told []string
	for _, s := range about {
		line := text(s)
		if line == "" || slices.Contains(told, line) {
			continue
		}
		if len(told) == 0 {
			t.say("\n%s", title)
		}
		t.say("  - %s", line)
		told = append(told, line)
	}
}
