package check

import (
	"errors"
	"net"

	"github.com/pomerium/pomerium-cli/internal/edge"
	"github.com/pomerium/pomerium-cli/proxy"
	"github.com/pomerium/pomerium-cli/tunnel"
)

// ops are the steps that end with an error of package proxy.
var ops = map[string]string{
	proxy.OpDial:    StepTCP,
	proxy.OpTLS:     StepTLS,
	proxy.OpAuth:    StepAuth,
	proxy.OpConnect: StepConnect,
}

// failed makes the step that err ended.
func (w *Walk) failed(err error) Step {
	var atEdge *tunnel.Error
	var name *net.DNSError
	switch {
	case is[*proxy.Error](err):
	case errors.As(err, &atEdge) && atEdge.Op == "tls":
		return w.failedAt(StepTLS, err)
	case errors.As(err, &name):
		return w.failedAt(StepResolve, err)
	}
	return w.failedAt(StepTCP, err)
}

// failedAt makes a step of that name which err ended, or the step at a proxy
// where the proxy was what ended it.
func (w *Walk) failedAt(step string, err error) Step {
	s := Step{Name: step, State: Failed, At: w.at(), Error: err.Error(), Err: err}
	var hop *proxy.Error
	var direct *proxy.DirectError
	var answer *edge.AnswerError
	switch {
	case errors.As(err, &hop):
		s.Name, s.At, s.Target, s.Status, s.Schemes = ops[hop.Op], hop.Hop, hop.Target, hop.Status, hop.Schemes
		if hop.Op == proxy.OpDial && is[*net.DNSError](err) {
			s.Name = StepResolve
		}
	case errors.As(err, &direct):
		s.Error = direct.Err.Error() // of the way and its source there are lines above
	case errors.As(err, &answer):
		s.Status = answer.Status
	}
	return s
}

// is reports whether an error of type E is in err's chain.
func is[E error](err error) bool {
	var e E
	return errors.As(err, &e)
}
