package cli

import (
	"errors"
	"fmt"
	"net"
	"strings"
	"syscall"
	"time"

	"github.com/pomerium/pomerium-cli/internal/check"
	"github.com/pomerium/pomerium-cli/internal/edge"
	"github.com/pomerium/pomerium-cli/internal/login"
	"github.com/pomerium/pomerium-cli/proxy"
	"github.com/pomerium/pomerium-cli/tunnel"
)

// stepWords are what a step is called, and what there is to say of it when it
// went well.
func stepWords(s check.Step) (what, detail string) {
	words, ok := map[string][2]string{
		check.StepScript:      {"choosing a way", ""},
		check.StepResolve:     {"name", strings.Join(s.Addresses, ", ")},
		check.StepTCP:         {"TCP connection", strings.Join(s.Addresses, ", ")},
		check.StepTLS:         {"TLS", tlsWords(s)},
		check.StepAgent:       {"calls itself", s.Agent},
		check.StepOffered:     {"asks who is there", strings.Join(s.Schemes, ", ")},
		check.StepAuth:        {"authentication", strings.Join(s.Schemes, ", ") + ", accepted"},
		check.StepConnect:     {"CONNECT " + s.Target, connectWords(s)},
		check.StepWarning:     {s.Error, ""},
		check.StepAnswer:      {"answer", answerWords(s)},
		check.StepToken:       {"token", whose(s)},
		check.StepDestination: {"tunnel to " + s.Target, "open over " + s.Protocol + ", and closed again; handshakes included"},
		check.StepUDP:         {"HTTP/3", udpWords(s)},
		check.StepIdle:        {"silence", idleWords(s)},
		check.StepTrips:       {"round trip", tripWords(s.Trips)},
		check.StepSpeed:       {"speed", speedWords(s.Down)},
	}[s.Name]
	if !ok {
		return s.Name, ""
	}
	return words[0], words[1]
}

func tlsWords(s check.Step) string {
	words := s.TLS
	if s.Protocol != "" {
		words += ", " + s.Protocol
	}
	return words + ", certificate issued by " + oneLine(s.Issuer)
}

func connectWords(s check.Step) string {
	words := "open"
	if s.Status != 0 { // as SOCKS5 says
		words = fmt.Sprint(s.Status)
	}
	if host, _, _ := net.SplitHostPort(s.Target); net.ParseIP(host) == nil {
		words += ", the proxy looks up the name"
	}
	return words
}

func answerWords(s check.Step) string {
	if s.State == check.Skipped {
		return "not asked: nothing leads there"
	}
	return "a Pomerium server"
}

func whose(s check.Step) string {
	words := map[string]string{
		"none":            "none is kept on this machine",
		"kept":            "the one that is kept on this machine",
		"service-account": "the service account's",
	}[s.Token]
	switch {
	case s.State == check.Skipped && s.Token != "none":
		words += "; the server was not asked whether it is good"
	case s.State == check.OK:
		words += " is good"
	}
	return words
}

func udpWords(s check.Step) string {
	words := "answers at " + s.Target + "/udp: " + strings.Join(s.Versions, ", ")
	if s.AltSvc == "" {
		words += "; not advertised"
	}
	return words
}

func idleWords(s check.Step) string {
	switch {
	case s.Cut == 0:
		return "a connection that was silent for " + seconds(s.Survived) + " is still there"
	case s.Closed:
		return "closed after " + seconds(s.Cut)
	}
	return "dead after " + seconds(s.Cut) + ", without a word; still there after " + seconds(s.Survived)
}

func seconds(s float64) string {
	d := time.Duration(s * float64(time.Second))
	if d < 10*time.Second {
		return d.Round(100 * time.Millisecond).String()
	}
	return d.Round(time.Second).String()
}

func tripWords(t *check.Trips) string {
	if t == nil {
		return ""
	}
	return fmt.Sprintf("%.2f ms (%.2f to %.2f), %d of GET /ping on one connection", t.Median, t.Least, t.Most, t.Count)
}

func speedWords(d *check.Down) string {
	if d == nil {
		return ""
	}
	return fmt.Sprintf("%s/s down (%s in %.2g s)", amount(d.Rate), amount(float64(d.Bytes)), d.Seconds)
}

// amount is a number of bytes in three digits.
func amount(bytes float64) string {
	units := []string{"bytes", "kB", "MB", "GB"}
	for bytes >= 999.5 && len(units) > 1 {
		bytes, units = bytes/1000, units[1:]
	}
	return fmt.Sprintf("%.3g %s", bytes, units[0])
}

// gist is the error of a step without what stands in the lines above it.
func gist(s check.Step) string {
	var hop *proxy.Error
	var atEdge *tunnel.Error
	var answer *edge.AnswerError
	var noToken *login.Error
	var begins string
	switch {
	case s.Name == check.StepIdle && s.Cut > 0:
		return idleWords(s)
	case s.Name == check.StepSpeed && s.Down != nil:
		return speedWords(s.Down) + ", and then: " + s.Error
	case s.Name == check.StepDestination && s.State == check.Note:
		return "the server has this route, for who is signed in"
	case errors.Is(s.Err, proxy.ErrNoUDP):
		return noUDP(s.Err)
	case s.Name == check.StepUDP && !is[*proxy.Error](s.Err):
		return noQUIC(s)
	case errors.As(s.Err, &hop):
		begins = hop.Err.Error()
	case errors.As(s.Err, &noToken):
		begins = noToken.Err.Error()
	case errors.As(s.Err, &atEdge):
		begins = atEdge.Err.Error()
	case errors.As(s.Err, &answer):
		return strings.TrimPrefix(s.Error, "edge "+answer.Edge+": ")
	}
	if i := strings.Index(s.Error, begins); i >= 0 {
		return s.Error[i:]
	}
	return s.Error
}

// noQUIC says why nothing answers where a QUIC server might be.
func noQUIC(s check.Step) string {
	why := s.Error
	if e, ok := as[syscall.Errno](s.Err); ok {
		why = e.Error() // without our own address
	}
	return "nothing answers at " + s.Target + "/udp: " + why
}

func noUDP(err error) string {
	if is[*proxy.Error](err) {
		return "this SOCKS5 proxy carries no UDP"
	}
	return "no UDP goes through an HTTP proxy, or through several proxies"
}
