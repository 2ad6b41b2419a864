package check

import (
	"context"
	"log/slog"
	"net/netip"
	"slices"
	"strings"
	"sync"
)

// A Recorder is a slog.Handler that makes steps of the records of packages proxy
// and tunnel. It passes all records on, but for warnings that have become steps. The zero value passes them to nobody.
type Recorder struct {
	Next slog.Handler // may be nil

	mu    sync.Mutex
	add   func(Step) // nil: nobody wants steps now
	first string     // where the socket of the way leads: to the first hop, or the edge
	edge  string
	told  map[string]bool // what was told of this way: a proxy that closes after a 407 is dialed twice
}

// records are those that become steps.
var records = map[string]func(*Recorder, attributes) Step{
	"resolved": func(r *Recorder, a attributes) Step {
		return Step{Name: StepResolve, At: r.first, Addresses: a.addresses("addrs")}
	},
	"dialed": func(r *Recorder, a attributes) Step {
		return Step{Name: StepTCP, At: r.first, Addresses: a.words("at")}
	},
	"proxy tls": func(_ *Recorder, a attributes) Step {
		return Step{Name: StepTLS, At: a.text("hop"), TLS: a.text("version"), Protocol: a.text("alpn"), Issuer: a.text("issuer")}
	},
	"proxy answered": func(_ *Recorder, a attributes) Step {
		return Step{Name: StepOffered, At: a.text("hop"), Status: a.number("status"), Schemes: a.words("offered"), Agent: a.text("agent")}
	},
	"proxy authenticated": func(_ *Recorder, a attributes) Step {
		return Step{Name: StepAuth, At: a.text("hop"), Schemes: a.words("scheme")}
	},
	"proxy connected": func(_ *Recorder, a attributes) Step {
		return Step{Name: StepConnect, At: a.text("hop"), Target: a.text("target"), Status: a.number("status"), Protocol: a.text("alpn")}
	},
	"tunnel open": func(r *Recorder, a attributes) Step {
		return Step{Name: StepDestination, At: r.edge, Target: a.text("destination"), Protocol: a.text("protocol")}
	},
	"edge tls": func(r *Recorder, a attributes) Step {
		return Step{Name: StepTLS, At: r.edge, TLS: a.text("version"), Protocol: a.text("alpn"), Issuer: a.text("issuer")}
	},
}

// listen has add called with each step of a way to edge, whose first stop is
// first.
func (r *Recorder) listen(first, edge string, add func(Step)) (stop func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.add, r.first, r.edge, r.told = add, first, edge, make(map[string]bool)
	return func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.add = nil
	}
}

// Enabled implements slog.Handler: the steps are in records of level debug.
func (r *Recorder) Enabled(context.Context, slog.Level) bool { return true }

// Handle implements slog.Handler.
func (r *Recorder) Handle(ctx context.Context, record slog.Record) error {
	if told := r.take(record); told && record.Level >= slog.LevelWarn || r.Next == nil || !r.Next.Enabled(ctx, record.Level) {
		return nil
	}
	return r.Next.Handle(ctx, record)
}

// take makes a step of a record. Otherwise, told is false.
func (r *Recorder) take(record slog.Record) (told bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.add == nil {
		return false
	}
	a := make(attributes)
	record.Attrs(func(attr slog.Attr) bool {
		a[attr.Key] = attr.Value.Resolve()
		return true
	})
	makeStep := records[record.Message]
	_, ofHop := a["hop"]
	switch {
	case record.Level >= slog.LevelWarn:
		r.tell(Step{Name: StepWarning, State: Note, At: a.text("hop"), Error: record.Message})
	case makeStep == nil, record.Message == "dialed" && ofHop: // the socket below has told
		return false
	default:
		step := makeStep(r, a)
		step.State = OK
		if d, ok := a["took"]; ok && d.Kind() == slog.KindDuration {
			step.took(d.Duration())
		}
		r.tellAll(step)
	}
	return true
}

// tellAll makes two steps of a proxy's answer: who says it, and what it asks for.
func (r *Recorder) tellAll(s Step) {
	if s.Name != StepOffered {
		r.tell(s)
		return
	}
	if s.Agent != "" {
		r.tell(Step{Name: StepAgent, State: OK, At: s.At, Agent: s.Agent})
	}
	if s.Agent = ""; len(s.Schemes) > 0 {
		r.tell(s)
	}
}

func (r *Recorder) tell(s Step) {
	key := s.Name + " " + s.At + " " + s.Target + " " + s.Error
	if !r.told[key] {
		r.told[key] = true
		r.add(s)
	}
}

// WithAttrs implements slog.Handler; no package of ours calls it.
func (r *Recorder) WithAttrs([]slog.Attr) slog.Handler { return r }

// WithGroup implements slog.Handler.
func (r *Recorder) WithGroup(string) slog.Handler { return r }

// attributes of a record, by name.
type attributes map[string]slog.Value

func (a attributes) text(name string) string {
	if v, ok := a[name]; ok {
		return v.String()
	}
	return ""
}

func (a attributes) number(name string) int {
	if v, ok := a[name]; ok && v.Kind() == slog.KindInt64 {
		return int(v.Int64())
	}
	return 0
}

// words is a list that was written with commas.
func (a attributes) words(name string) []string {
	if text := a.text(name); text != "" {
		return strings.Split(text, ", ")
	}
	return nil
}

func (a attributes) addresses(name string) []string {
	ips, _ := a[name].Any().([]netip.Addr)
	var all []string
	for _, ip := range ips {
		if text := ip.Unmap().String(); !slices.Contains(all, text) {
			all = append(all, text)
		}
	}
	return all
}
