package proxy_test

import (
	"bytes"
	"crypto/hmac"
	"crypto/md5"
	"crypto/sha256"
	"crypto/tls"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"hash"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
	"unicode/utf16"

	"golang.org/x/crypto/md4" //nolint:staticcheck // NTLM is made of it

	"github.com/pomerium/pomerium-cli/proxy"
)

// A gate is the proxy's side of one authentication scheme.
type gate struct {
	scheme    string
	ntlm      bool          // by that name or inside Negotiate: it has two legs, and wants a connection of its own
	challenge func() string // the first one of a connection
	// judge looks at the credentials of a request. It opens, or gives the next
	// challenge; wrong says that a directory would count a wrong password.
	judge func(v *visit, credentials string) (opens bool, challenge string, wrong bool)
	hop   func(h *proxy.Hop, good bool) // gives the hop credentials
	said  string                        // how a refusal is told
}

// A visit is one connection.
type visit struct {
	method, uri string
	binding     [16]byte // what the client has to bind to; zero without TLS
	nonce       []byte   // of NTLM: the challenge that is open
}

// A guarded proxy counts what comes. It answers requests in absolute form itself.
type guarded struct {
	addr                          string
	leadsTo                       string // where tunnels lead; "": an echo
	h2                            bool   // offered, and preferred
	tls                           *tls.Config
	conns, requests, tries, wrong atomic.Int32
	parts                         func(request string, credentials bool) bool // closes behind this 407
	silent                        func(try int32) bool                        // closes in place of an answer to credentials
}

// httpKinds are the kinds of proxies that these schemes are for.
func httpKinds() []string {
	return slices.DeleteFunc(kinds(), func(kind string) bool { return !strings.HasPrefix(kind, "http") })
}

func (g *gate) serve(t testing.TB, kind string) *guarded {
	p := &guarded{}
	var config *tls.Config
	var binding [16]byte
	if schemeOf(kind) == "https" {
		ca := newAuthority(t)
		cert := ca.issue(t, "proxy.test", time.Now().Add(time.Hour))
		config, p.tls = &tls.Config{Certificates: []tls.Certificate{cert}}, &tls.Config{RootCAs: ca.pool()}
		binding = bindingOf(cert.Certificate[0])
	}
	var h2 *h2Server
	if kind == "https, h2" {
		p.h2, config.NextProtos = true, bothProtocols
		h2 = newH2Server(t, func(w http.ResponseWriter, r *http.Request) {
			p.requests.Add(1)
			p.answerH2(w, r, g, &visit{method: r.Method, uri: r.Host, binding: binding})
		})
	}
	p.addr = serve(t, func(c net.Conn, _ int) {
		p.conns.Add(1)
		if config != nil {
			s := tls.Server(c, config)
			defer s.Close()
			if s.Handshake() == nil && s.ConnectionState().NegotiatedProtocol == "h2" {
				h2.take(s)
				return
			}
			c = s
		}
		v := &visit{binding: binding}
		for {
			head, err := readHead(c)
			if err != nil {
				return
			}
			p.requests.Add(1)
			line := strings.Fields(head)
			v.method, v.uri = line[0], line[1]
			if !p.answer(c, g, v, head) {
				return
			}
		}
	})
	return p
}

// judge looks at credentials, if there are any: silent means no answer at all.
func (p *guarded) judge(g *gate, v *visit, credentials string) (opens, silent bool, challenge string) {
	if g.judge == nil {
		return true, false, "" // everybody may pass
	}
	challenge = g.challenge()
	if credentials == "" {
		return false, false, challenge
	}
	try := p.tries.Add(1)
	opens, next, wrong := g.judge(v, credentials)
	if wrong {
		p.wrong.Add(1)
	}
	if next != "" {
		challenge = next
	}
	return opens, p.silent != nil && p.silent(try), challenge
}

// answerH2 answers a CONNECT over HTTP/2.
func (p *guarded) answerH2(w http.ResponseWriter, r *http.Request, g *gate, v *visit) {
	credentials := r.Header.Get("Proxy-Authorization")
	opens, silent, challenge := p.judge(g, v, credentials)
	switch {
	case silent:
		connOf(r).Close()
	case opens && p.leadsTo != "":
		leadH2(w, r, p.leadsTo, "")
	case opens:
		c := h2Tunnel{w: w, r: r}
		c.open("")
		echo(c)
	default:
		w.Header().Set("Proxy-Authenticate", challenge)
		if p.parts != nil && p.parts(challenge, credentials != "") {
			w.Header().Set("Connection", "close") // the server says GOAWAY
		}
		w.WriteHeader(http.StatusProxyAuthRequired)
		io.WriteString(w, "no!")
	}
}

// answer answers one request and says whether the connection goes on.
func (p *guarded) answer(c net.Conn, g *gate, v *visit, head string) bool {
	credentials := field(head, "Proxy-Authorization")
	opens, silent, challenge := p.judge(g, v, credentials)
	switch {
	case silent:
		return false
	case opens && v.method == "CONNECT" && p.leadsTo != "":
		lead(c, p.leadsTo, ok200)
		return false
	case opens && v.method == "CONNECT":
		io.WriteString(c, ok200)
		echo(c)
		return false
	case opens:
		fmt.Fprintf(c, "HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s", len(v.uri), v.uri)
		return true
	}
	reply := "HTTP/1.1 407 No\r\nContent-Length: 3\r\nProxy-Authenticate: " + challenge + "\r\n"
	if p.parts != nil && p.parts(challenge, credentials != "") {
		io.WriteString(c, reply+"Connection: close\r\n\r\nno!")
		return false
	}
	io.WriteString(c, reply+"\r\nno!")
	return true
}

// connections is how many n tunnels take: over HTTP/2 they share one, but NTLM goes
// back to HTTP/1.1 when it is asked for there.
func (p *guarded) connections(g *gate, n int32) int32 {
	switch {
	case !p.h2:
		return n
	case g.ntlm:
		return 1 + n
	}
	return 1
}

func (p *guarded) hop(t testing.TB, g *gate, good bool) *proxy.Hop {
	scheme := "http"
	if p.tls != nil {
		scheme = "https"
	}
	h := hop(t, scheme+"://proxy.test:3128", to(p.addr))
	h.TLS = p.tls
	t.Cleanup(h.CloseIdleConnections)
	g.hop(h, good)
	return h
}

// bindingOf is tls-server-end-point (RFC 5929 4.1) in the form of RFC 4121, put
// together from their text.
func bindingOf(der []byte) [16]byte {
	sum := sha256.Sum256(der)
	data := append([]byte("tls-server-end-point:"), sum[:]...)
	channel := make([]byte, 20, 20+len(data))
	channel[16] = byte(len(data))
	return md5.Sum(append(channel, data...))
}

func passwords(good bool) string {
	if good {
		return goodPassword
	}
	return "p:w 2"
}

// gates has a row for each name of proxy.AuthSchemes, and some for variants.
var gates = map[string]func(t testing.TB) *gate{
	"basic":             basicGate,
	"ntlm":              func(t testing.TB) *gate { return ntlmGate(t, true) },
	"ntlm, bare":        func(t testing.TB) *gate { return ntlmGate(t, false) },
	"ntlm, misplaced":   misplacedGate,
	"digest":            func(t testing.TB) *gate { return digestGate(`algorithm=MD5, qop="auth,auth-int"`, md5.New) },
	"digest, SHA-256":   func(t testing.TB) *gate { return digestGate(`algorithm=SHA-256, qop="auth"`, sha256.New) },
	"digest, RFC 2069":  func(t testing.TB) *gate { return digestGate(``, md5.New) },
	"digest, odd cases": func(t testing.TB) *gate { return digestGate(`Algorithm=sha-256 , QOP = "auth-int, auth"`, sha256.New) },
	"negotiate":         negotiateGate,
	"negotiate, NTLM":   ntlmInsideGate,
}

func basicGate(testing.TB) *gate {
	return &gate{
		scheme:    "Basic",
		challenge: func() string { return `Basic realm="lab"` },
		judge: func(_ *visit, credentials string) (bool, string, bool) {
			return credentials == goodKey, "", credentials != goodKey
		},
		hop: func(h *proxy.Hop, good bool) {
			h.Auth = []proxy.Authenticator{proxy.Basic{Username: "u", Password: passwords(good)}}
		},
		said: "the proxy refused the user name or the password",
	}
}

// digestGate gives a nonce for each challenge and accepts each count once, in any
// order.
func digestGate(extra string, hash func() hash.Hash) *gate {
	const realm = "a, \"lab\\\" \xfc" // the last in Latin-1
	var mu sync.Mutex
	used := make(map[string]map[string]bool) // by nonce
	issue := func() string {
		mu.Lock()
		defer mu.Unlock()
		nonce := fmt.Sprintf("n%d=", len(used))
		used[nonce] = make(map[string]bool)
		return "Digest realm=\"a, \\\"lab\\\\\\\" \xfc\", x_y=z, nonce=\"" + nonce + `", opaque="o", ` + extra
	}
	return &gate{
		scheme:    "Digest",
		challenge: issue,
		judge: func(v *visit, credentials string) (bool, string, bool) {
			p := parameters(credentials)
			want := digestResponse(hash, p, realm, goodPassword, v.method)
			mu.Lock()
			counts, known := used[p["nonce"]]
			ok := known && !counts[p["nc"]] && p["uri"] == v.uri && p["username"] == "u" && p["opaque"] == "o" && p["realm"] == realm
			if known {
				counts[p["nc"]] = p["nc"] != ""
			}
			mu.Unlock()
			return ok && p["response"] == want, "", p["response"] != want
		},
		hop: func(h *proxy.Hop, good bool) {
			h.Auth = []proxy.Authenticator{proxy.Digest{Username: "u", Password: passwords(good)}}
		},
		said: "the proxy refused the user name or the password",
	}
}

// parameters takes the credentials of Digest apart (RFC 7616 3.4).
func parameters(credentials string) map[string]string {
	all := make(map[string]string)
	_, rest, _ := strings.Cut(credentials, " ")
	for rest != "" {
		name, after, _ := strings.Cut(rest, "=")
		value := ""
		if strings.HasPrefix(after, `"`) {
			i := 1
			for ; i < len(after) && after[i] != '"'; i++ {
				if after[i] == '\\' {
					i++
				}
				value += after[i : i+1]
			}
			after = after[min(i+1, len(after)):]
		} else {
			end := strings.IndexByte(after+",", ',')
			value, after = after[:end], after[end:]
		}
		all[strings.TrimSpace(name)] = value
		rest = strings.TrimLeft(after, ", ")
	}
	return all
}

// digestResponse is RFC 7616 3.4.1, and RFC 2069 without qop.
func digestResponse(hash func() hash.Hash, p map[string]string, realm, password, method string) string {
	h := func(parts ...string) string {
		sum := hash()
		io.WriteString(sum, strings.Join(parts, ":"))
		return hex.EncodeToString(sum.Sum(nil))
	}
	a1, a2 := h(p["username"], realm, password), h(method, p["uri"])
	if p["qop"] == "" {
		return h(a1, p["nonce"], a2)
	}
	return h(a1, p["nonce"], p["nc"], p["cnonce"], p["qop"], a2)
}

// ntlmGate verifies NTLMv2; with info its challenge has target information, into
// which the client has to put the channel binding.
func ntlmGate(_ testing.TB, info bool) *gate {
	return &gate{
		scheme:    "NTLM",
		ntlm:      true,
		challenge: func() string { return "NTLM" },
		judge: func(v *visit, credentials string) (bool, string, bool) {
			message := decode(credentials)
			switch {
			case len(message) > 12 && message[8] == 1:
				v.nonce = []byte("8 bytes!")
				return false, "NTLM " + encode(ntlmChallenge(v.nonce, info)), false
			case v.nonce == nil || len(message) < 64 || message[8] != 3:
				return false, "", true // out of turn
			}
			user, response := verifyNTLM(message, v.nonce, goodPassword)
			v.nonce = nil
			ok := user == `DOM\u` && response != nil
			if ok && info && avPair(response[44:], 10) != string(v.binding[:]) && v.binding != [16]byte{} {
				ok = false
			}
			return ok, "", !ok
		},
		hop: func(h *proxy.Hop, good bool) {
			h.Auth = []proxy.Authenticator{proxy.NTLM{Username: `DOM\u`, Password: passwords(good)}}
		},
		said: "the proxy refused the user name or the password",
	}
}

// insideGate verifies NTLMv2 inside SPNEGO (RFC 4178 4.2), put together from its text.
func insideGate(t testing.TB) *gate {
	g := ntlmGate(t, true)
	inner := g.judge
	const mechanisms = "\xa0\x0e\x30\x0c\x06\x0a\x2b\x06\x01\x04\x01\x82\x37\x02\x02\x0a"
	der := func(tag byte, content string) string {
		switch n := len(content); {
		case n < 1<<7:
			return string([]byte{tag, byte(n)}) + content
		case n < 1<<8:
			return string([]byte{tag, 0x81, byte(n)}) + content
		default:
			return string([]byte{tag, 0x82, byte(n >> 8), byte(n)}) + content
		}
	}
	g.scheme, g.challenge = "Negotiate", func() string { return "Negotiate" }
	g.judge = func(v *visit, credentials string) (bool, string, bool) {
		token := string(decode(credentials))
		at := strings.Index(token, "NTLMSSP\x00")
		if at < 0 {
			return false, "", false // a ticket
		}
		message := token[at:]
		init := der(0x60, "\x06\x06\x2b\x06\x01\x05\x05\x02"+der(0xa0, der(0x30, mechanisms+der(0xa2, der(0x04, message)))))
		if later := der(0xa1, der(0x30, der(0xa2, der(0x04, message)))); token != init && token != later {
			return false, "", true
		}
		opens, next, wrong := inner(v, "NTLM "+encode([]byte(message)))
		if next == "" {
			return opens, "", wrong
		}
		mechanism := "\xa1\x0c\x06\x0a\x2b\x06\x01\x04\x01\x82\x37\x02\x02\x0a"
		answer := der(0xa1, der(0x30, der(0xa0, "\x0a\x01\x01")+mechanism+der(0xa2, der(0x04, string(decode(next))))))
		return false, "Negotiate " + encode([]byte(answer)), wrong
	}
	g.hop = func(h *proxy.Hop, good bool) {
		h.Auth = []proxy.Authenticator{proxy.NTLM{Username: `DOM\u`, Password: passwords(good), Inside: true}}
	}
	return g
}

// misplacedGate has a CHALLENGE whose fields are not where they are said to be, as
// squid's ntlm_fake_auth sends it.
func misplacedGate(t testing.TB) *gate {
	g := ntlmGate(t, false)
	judge := g.judge
	g.judge = func(v *visit, credentials string) (bool, string, bool) {
		opens, next, wrong := judge(v, credentials)
		if next != "" {
			m := append(decode(next), "\x00\x00\x00\x00\x00\x00\x3a\x00WORKGROUP"...)
			copy(m[12:], "\x09\x00\x09\x00\xae\xaa\xaa\xaa")
			next = "NTLM " + encode(m)
		}
		return opens, next, wrong
	}
	return g
}

// ntlmChallenge is CHALLENGE [MS-NLMP 2.2.1.2]; without info as short as the
// oldest servers sent it.
func ntlmChallenge(nonce []byte, info bool) []byte {
	m := append([]byte("NTLMSSP\x00\x02\x00\x00\x00"), make([]byte, 20)...)
	binary.LittleEndian.PutUint32(m[20:], 0x00000201) // UNICODE, NTLM
	copy(m[24:], nonce)
	if !info {
		return m
	}
	pairs := "\x02\x00\x06\x00D\x00O\x00M\x00" + "\x0a\x00\x10\x00" + strings.Repeat("\x00", 16) + "\x00\x00\x00\x00"
	m = append(m, make([]byte, 24)...)
	m[40], m[42], m[44] = byte(len(pairs)), byte(len(pairs)), 56
	return append(m, pairs...)
}

// verifyNTLM takes AUTHENTICATE apart, and returns the response without its
// proof if that is right for the password [MS-NLMP 3.3.2].
func verifyNTLM(m, nonce []byte, password string) (user string, response []byte) {
	at := func(i int) []byte {
		length, start := binary.LittleEndian.Uint16(m[i:]), binary.LittleEndian.Uint32(m[i+4:])
		return m[start:][:length]
	}
	blob, domain, name := at(20), at(28), at(36)
	user = fromUTF16(domain) + `\` + fromUTF16(name)
	if len(blob) < 44 {
		return user, nil
	}
	key := hmacMD5(ntHash(password), toUTF16(strings.ToUpper(fromUTF16(name))+fromUTF16(domain)))
	if !bytes.Equal(hmacMD5(key, append(append([]byte(nil), nonce...), blob[16:]...)), blob[:16]) {
		return user, nil
	}
	return user, blob
}

// ntHash is NTOWFv1 [MS-NLMP 3.3.1].
func ntHash(password string) []byte {
	h := md4.New()
	h.Write(toUTF16(password))
	return h.Sum(nil)
}

func avPair(pairs []byte, id uint16) string {
	for len(pairs) >= 4 {
		size := 4 + int(binary.LittleEndian.Uint16(pairs[2:]))
		if size > len(pairs) {
			break
		}
		if binary.LittleEndian.Uint16(pairs) == id {
			return string(pairs[4:size])
		}
		pairs = pairs[size:]
	}
	return ""
}

func hmacMD5(key, data []byte) []byte {
	h := hmac.New(md5.New, key)
	h.Write(data)
	return h.Sum(nil)
}

func toUTF16(s string) (b []byte) {
	for _, c := range utf16.Encode([]rune(s)) {
		b = binary.LittleEndian.AppendUint16(b, c)
	}
	return b
}

func fromUTF16(b []byte) string {
	codes := make([]uint16, len(b)/2)
	for i := range codes {
		codes[i] = binary.LittleEndian.Uint16(b[2*i:])
	}
	return string(utf16.Decode(codes))
}

// encode and decode are the token of credentials like `NTLM TlRM...`.
func encode(token []byte) string { return base64.StdEncoding.EncodeToString(token) }

func decode(credentials string) []byte {
	_, text, _ := strings.Cut(credentials, " ")
	token, _ := base64.StdEncoding.DecodeString(text)
	return token
}
