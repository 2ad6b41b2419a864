package check

import "time"

// Format is the version of a Report's JSON form. It changes when a name goes
// away or changes its meaning; names may come without notice.
const Format = 1

// A Report is what a walk found. It has no user names, passwords or tokens.
type Report struct {
	Format      int       `json:"format"`
	Program     string    `json:"program"` // the version of this program
	Edge        string    `json:"edge,omitempty"`
	Destination string    `json:"destination,omitempty"`
	Settings    []Setting `json:"settings"`
	Ways        []Way     `json:"ways"`
	Steps       []Step    `json:"steps"` // behind the way that was taken
	OK          bool      `json:"ok"`
	Exit        int       `json:"exit"`            // the code that the program exits with
	Error       string    `json:"error,omitempty"` // what decides the exit code
}

// A Setting is one that could have a say in the way out.
type Setting struct {
	Name  string `json:"name"`            // "--forward-proxy", "HTTPS_PROXY", ...
	Value string `json:"value,omitempty"` // without user and password
	Used  bool   `json:"used"`
	Why   string `json:"why,omitempty"` // it is ignored
}

// A Way is one of those that the settings choose, the best first.
type Way struct {
	Way    string   `json:"way"`    // "http://proxy.internal:3128 -> socks5://...", or "direct"
	Source string   `json:"source"` // what chose it
	Hops   []string `json:"hops"`
	Dead   bool     `json:"dead,omitempty"` // passed over at the moment, because it could not be reached lately
	Taken  bool     `json:"taken"`          // a tunnel goes this way
	Steps  []Step   `json:"steps"`

	err error
}

// Failed says whether the way could not be gone to its end.
func (w Way) Failed() bool { return w.err != nil }

// A State is how a step went.
type State string

// The states of a step.
const (
	OK      State = "ok"
	Failed  State = "failed"
	Note    State = "note"    // no failure, but worth knowing
	Skipped State = "skipped" // there was no way to try
)

// The names of steps.
const (
	StepScript      = "script"      // a PAC script, or the desktop, was to choose the ways
	StepResolve     = "resolve"     // name resolution
	StepTCP         = "tcp"         // a TCP connection
	StepTLS         = "tls"         // a TLS handshake with a proxy or the edge
	StepAgent       = "agent"       // how a proxy names itself
	StepOffered     = "offered"     // the authentication schemes that a proxy offers
	StepAuth        = "auth"        // authentication to a proxy
	StepConnect     = "connect"     // a proxy opens a way to the next hop or the edge
	StepWarning     = "warning"     // something that the program warns of
	StepAnswer      = "answer"      // the edge answers, as a Pomerium server does
	StepToken       = "token"       // the edge takes the token
	StepDestination = "destination" // the edge opens a tunnel to the destination
	StepUDP         = "udp"         // a QUIC server answers at the edge
	StepIdle        = "idle"        // how long a silence the path survives
	StepTrips       = "trips"       // round trips
	StepSpeed       = "speed"       // how fast bytes come
)

// A Step is one thing that was tried. Which members it has depends on its name.
type Step struct {
	Name      string   `json:"step"`
	State     State    `json:"state"`
	At        string   `json:"at,omitempty"`         // the URL of the proxy, or of the edge
	Millis    float64  `json:"ms,omitempty"`         // how long it took
	Addresses []string `json:"addresses,omitempty"`  // resolve: those of the name; tcp: the one that was reached
	Target    string   `json:"target,omitempty"`     // connect, destination, udp: host:port; speed: the path that was asked for
	Status    int      `json:"status,omitempty"`     // of an HTTP answer, or the reply of SOCKS5
	TLS       string   `json:"tls,omitempty"`        // its version
	Protocol  string   `json:"protocol,omitempty"`   // that ALPN picked, or that a tunnel goes by
	Issuer    string   `json:"issuer,omitempty"`     // of the certificate
	Agent     string   `json:"agent,omitempty"`      // what the answers' header says about the proxy
	Schemes   []string `json:"schemes,omitempty"`    // offered: all; auth: the one that was taken
	Token     string   `json:"token,omitempty"`      // none, kept or service-account
	Versions  []string `json:"versions,omitempty"`   // udp: of QUIC
	AltSvc    string   `json:"alt_svc,omitempty"`    // udp: what the edge says of HTTP/3
	Survived  float64  `json:"survived_s,omitempty"` // idle: the longest silence that was survived
	Cut       float64  `json:"cut_s,omitempty"`      // idle: the silence that was not
	Closed    bool     `json:"closed,omitempty"`     // idle: the cut was a close, not silence
	Trips     *Trips   `json:"trips,omitempty"`
	Down      *Down    `json:"down,omitempty"` // speed: from the edge
	Error     string   `json:"error,omitempty"`
	Hint      string   `json:"hint,omitempty"` // what to try
	Ask       string   `json:"ask,omitempty"`  // what to ask of whoever runs the network

	Err error `json:"-"`
}

// Took sets how long the step took.
func (s *Step) took(d time.Duration) { s.Millis = float64(d.Microseconds()) / 1000 }

// Trips are the times of round trips to the edge, in milliseconds.
type Trips struct {
	Count  int     `json:"count"`
	Least  float64 `json:"least_ms"`
	Median float64 `json:"median_ms"`
	Most   float64 `json:"most_ms"`
}

// Down is how fast bytes came from the edge.
type Down struct {
	Bytes   int64   `json:"bytes"`
	Seconds float64 `json:"seconds"` // in which they came: what passed between two answers is left out
	Rate    float64 `json:"bytes_per_second"`
}
