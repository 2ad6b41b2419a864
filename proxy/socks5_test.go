package proxy_test

import (
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/pomerium/pomerium-cli/proxy"
)

// A socksServer plays one side of RFC 1928 from fixed bytes.
type socksServer struct {
	method   string // answer to the greeting
	login    string // answer to user and password, if method says so
	reply    string // answer to the request
	greeting string // what the client has to send
	password string
	request  string
}

// play returns false if the client left or sent something else.
func (s socksServer) play(t testing.TB, c net.Conn) bool {
	for _, step := range []struct{ expect, send string }{{s.greeting, s.method}, {s.password, s.login}, {s.request, s.reply}} {
		got := make([]byte, len(step.expect))
		if _, err := io.ReadFull(c, got); err != nil {
			return false
		}
		if string(got) != step.expect {
			t.Errorf("the client sent %q, want %q", got, step.expect)
			return false
		}
		if _, err := io.WriteString(c, step.send); err != nil {
			return false
		}
	}
	return true
}

const (
	socksTarget = "\x05\x01\x00\x03\x09edge.test\x01\xbb"
	socksOpen   = "\x05\x00\x00\x01\x00\x00\x00\x00\x00\x00"
)

// dialSOCKS dials addr through s, which sends byte by byte if split.
func dialSOCKS(t *testing.T, raw, addr string, s socksServer, split bool) (net.Conn, error) {
	t.Helper()
	handle := func(c net.Conn) {
		if s.play(t, c) && strings.HasPrefix(s.reply, "\x05\x00") && len(s.reply) >= len("\x05\x00\x00\x03\x00\x00\x00") {
			echo(c)
		}
	}
	if split {
		return hop(t, raw, piped(t, func(c net.Conn) { handle(splitting{c}) })).DialContext(t.Context(), "tcp", addr)
	}
	at := serve(t, func(c net.Conn, _ int) { handle(c) })
	return hop(t, raw, to(at)).DialContext(t.Context(), "tcp", addr)
}

// splitting writes byte by byte.
type splitting struct{ net.Conn }

func (c splitting) Write(p []byte) (int, error) {
	for i := range p {
		if _, err := c.Conn.Write(p[i : i+1]); err != nil {
			return i, err
		}
	}
	return len(p), nil
}

func TestEdgeCase27_Replies(t *testing.T) {
	for _, tc := range []struct{ name, reply, early, err string }{
		{"IPv4", socksOpen, "", ""},
		{"IPv6", "\x05\x00\x00\x04" + strings.Repeat("\x00", 18), "", ""},
		{"name", "\x05\x00\x00\x03\x05x.tst\x00\x50", "", ""},
		{"name of length 0", "\x05\x00\x00\x03\x00\x00\x00", "", ""},
		{"reserved byte is set", "\x05\x00\xff\x01\x00\x00\x00\x00\x00\x00", "", ""},
		{"early bytes", socksOpen + "SSH-2.0-x\r\n", "SSH-2.0-x\r\n", ""},
		{"early bytes behind a name", "\x05\x00\x00\x03\x01x\x00\x50\x05\x00", "\x05\x00", ""},
		{"address of no type", "\x05\x00\x00\x09\x00\x00\x00\x00\x00\x00", "", "the proxy's reply has an address of type 9, which RFC 1928 does not define"},
		{"none", "", "", "the proxy closed the connection in place of a reply, as ssh -D does where it does not reach the target: unexpected EOF"},
		{"cut short", "\x05\x00\x00\x01\x00", "", "the proxy closed the connection in the middle of its answer: unexpected EOF"},
		{"1", "\x05\x01", "", "the proxy failed (general SOCKS server failure) (SOCKS5 reply 1)"},
		{"2", "\x05\x02\x00\x01\x00\x00\x00\x00\x00\x00", "", "the proxy's rules do not allow this connection (SOCKS5 reply 2)"},
		{"3", "\x05\x03", "", "the network of the target is unreachable for the proxy (SOCKS5 reply 3)"},
		{"4", "\x05\x04", "", "the target is unreachable for the proxy, or its name is unknown there (host unreachable) (SOCKS5 reply 4)"},
		{"5", "\x05\x05", "", "the target refused the proxy's connection (SOCKS5 reply 5)"},
		{"6", "\x05\x06", "", "the proxy's connection to the target took too long (TTL expired) (SOCKS5 reply 6)"},
		{"7", "\x05\x07", "", "the proxy does not know the command CONNECT (SOCKS5 reply 7)"},
		{"8", "\x05\x08", "", "the proxy does not support this type of address (SOCKS5 reply 8)"},
		{"9", "\x05\x09", "", "the proxy refused for a reason that RFC 1928 does not define (SOCKS5 reply 9)"},
		{"255", "\x05\xff", "", "the proxy refused for a reason that RFC 1928 does not define (SOCKS5 reply 255)"},
	} {
		for _, split := range []bool{false, true} {
			t.Run(tc.name, func(t *testing.T) {
				s := socksServer{greeting: "\x05\x01\x00", method: "\x05\x00", request: socksTarget, reply: tc.reply}
				conn, err := dialSOCKS(t, "socks5://proxy.test", target, s, split)
				if tc.err != "" {
					if want := "forward proxy socks5://proxy.test:1080: connect edge.test:443: " + tc.err; text(err) != want {
						t.Errorf("error\n got %v\nwant %s", err, want)
					}
					if err == nil {
						conn.Close()
					}
					return
				}
				if err != nil {
					t.Fatal(err)
				}
				defer conn.Close()
				exchangeEcho(t, conn, tc.early)
				if _, bare := conn.(*net.TCPConn); !split && tc.early == "" && !bare {
					t.Errorf("the tunnel is a %T, want the bare *net.TCPConn", conn)
				}
			})
		}
	}
}

func TestEdgeCase28_Methods(t *testing.T) {
	const (
		none = "\x05\x01\x00"
		both = "\x05\x02\x00\x02"
		user = "socks5h://u:p%20w@proxy.test"
	)
	for _, tc := range []struct {
		name, url string
		s         socksServer
		err       string
	}{
		{"password", user, socksServer{greeting: both, method: "\x05\x02", password: "\x01\x01u\x03p w", login: "\x01\x00"}, ""},
		{"password, odd version", user, socksServer{greeting: both, method: "\x05\x02", password: "\x01\x01u\x03p w", login: "\x05\x00"}, ""},
		{"password was not needed", user, socksServer{greeting: both, method: "\x05\x00"}, ""},
		{"wrong password", user, socksServer{greeting: both, method: "\x05\x02", password: "\x01\x01u\x03p w", login: "\x01\x01"},
			"the proxy refused the user name or the password"},
		{"GSSAPI was not offered", user, socksServer{greeting: both, method: "\x05\x01"}, "the proxy wants GSS-API authentication (SOCKS5 method 1), which is not spoken here"},
		{"password was not offered", "socks5h://proxy.test", socksServer{greeting: none, method: "\x05\x02"},
			"the proxy chose authentication method 2, which was not offered"},
		{"none of none", "socks5h://proxy.test", socksServer{greeting: none, method: "\x05\xff"},
			"the proxy does not let anyone in without authentication, and its URL has no user and password"},
		{"none of both", user, socksServer{greeting: both, method: "\x05\xff"}, "the proxy accepts neither user and password nor no authentication"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			tc.s.request, tc.s.reply = socksTarget, socksOpen
			conn, err := dialSOCKS(t, tc.url, target, tc.s, false)
			want := ""
			if tc.err != "" {
				want = "forward proxy socks5h://proxy.test:1080: authenticate: " + tc.err
			}
			if text(err) != want {
				t.Errorf("error\n got %v\nwant %s", err, want)
			}
			if err != nil {
				if rejected := strings.Contains(tc.err, "refused"); errors.Is(err, proxy.ErrRejected) != rejected {
					t.Errorf("errors.Is(err, ErrRejected) = %v", !rejected)
				}
				return
			}
			defer conn.Close()
			exchangeEcho(t, conn, "")
		})
	}
	for _, reset := range []bool{false, true} {
		t.Run(fmt.Sprintf("closes at a wrong password, with a reset %t", reset), func(t *testing.T) {
			var sent atomic.Int32
			addr := serve(t, func(c net.Conn, _ int) {
				io.ReadFull(c, make([]byte, 4))
				io.WriteString(c, "\x05\x02")
				if _, err := io.ReadFull(c, make([]byte, 7)); err == nil {
					sent.Add(1)
				}
				if reset {
					c.(*net.TCPConn).SetLinger(0)
				}
			})
			h := hop(t, user, to(addr))
			for range 2 {
				if _, err := h.DialContext(t.Context(), "tcp", target); !errors.Is(err, proxy.ErrRejected) {
					t.Errorf("error %v", err)
				}
			}
			if n := sent.Load(); n != 1 {
				t.Errorf("the password was sent %d times", n)
			}
		})
	}
}

func TestEdgeCase29_WhatDoesNotFitIsRefusedBeforeDialing(t *testing.T) {
	long := strings.Repeat("x", 256)
	for _, tc := range []struct{ url, err string }{
		{"socks5://" + long + ":p@proxy.test", "the user name or password is longer than 255 bytes, which SOCKS5 cannot carry"},
		{"socks5://u:" + long + "@proxy.test", "the user name or password is longer than 255 bytes, which SOCKS5 cannot carry"},
		{"socks5://u@proxy.test", "SOCKS5 needs both a user name and a password, or neither (RFC 1929)"},
		{"socks5://u:@proxy.test", "SOCKS5 needs both a user name and a password, or neither (RFC 1929)"},
		{"socks5://:p@proxy.test", "SOCKS5 needs both a user name and a password, or neither (RFC 1929)"},
	} {
		if _, err := proxy.ParseURL(tc.url); text(err) != tc.err {
			t.Errorf("ParseURL(%s): %v, want %s", tc.url, err, tc.err)
		}
		// The same for a hop whose URL did not come from ParseURL.
		h := hop(t, "socks5://proxy.test", nil)
		h.URL = mustParse(t, tc.url)
		if head, err := asked(t, h, target); text(err) != "forward proxy socks5://proxy.test:1080: authenticate: "+tc.err || head != "" {
			t.Errorf("dialing through %s: %v", tc.url, err)
		}
	}
	head, err := asked(t, hop(t, "socks5://proxy.test", nil), long+":443")
	if want := "dialing through a proxy: address \"" + long + ":443\": the host name is longer than 255 bytes"; text(err) != want || head != "" {
		t.Errorf("a name of 256 bytes: %v", err)
	}
	t.Run("255 bytes fit", func(t *testing.T) {
		name := strings.Repeat("n", 255)
		conn, err := dialSOCKS(t, "socks5://"+name+":"+name+"@proxy.test", name+":443", socksServer{
			greeting: "\x05\x02\x00\x02", method: "\x05\x02", password: "\x01\xff" + name + "\xff" + name, login: "\x01\x00",
			request: "\x05\x01\x00\x03\xff" + name + "\x01\xbb", reply: socksOpen,
		}, false)
		if err != nil {
			t.Fatal(err)
		}
		conn.Close()
	})
}

func TestEdgeCase30_MixUps(t *testing.T) {
	const no = "this port does not speak SOCKS5"
	for _, tc := range []struct{ name, says, err string }{
		{"HTTP proxy", "HTTP/1.1 400 Bad Request\r\n\r\n", no + ", it speaks HTTP"},
		{"TLS", "\x15\x03\x03\x00\x02\x02\x46", no + ", it speaks TLS"},
		{"SSH", "SSH-2.0-x\r\n", no + `, it speaks SSH: it answered "SSH-2.0-x"`},
		{"SOCKS4", "\x00\x5b\x00\x00\x00\x00\x00\x00", no + ", it speaks SOCKS"},
		{"binary", "\xff\xfe", no},
		{"closes", "", "the proxy closed the connection without an answer (is it a SOCKS5 proxy?): unexpected EOF"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			addr := serve(t, func(c net.Conn, _ int) { io.ReadFull(c, make([]byte, 3)); io.WriteString(c, tc.says) })
			_, err := hop(t, "socks5://proxy.test", to(addr)).DialContext(t.Context(), "tcp", target)
			if want := "forward proxy socks5://proxy.test:1080: connect edge.test:443: " + tc.err; text(err) != want {
				t.Errorf("error\n got %v\nwant %s", err, want)
			}
			var wrong *proxy.WrongProtocol
			if errors.As(err, &wrong) != (tc.says != "") {
				t.Errorf("cause %v", err)
			}
		})
	}
	// The reverse is in TestEdgeCase08_NotAnHTTPProxy.
}

func TestEdgeCase31_AddressTypes(t *testing.T) {
	s := socksServer{greeting: "\x05\x01\x00", method: "\x05\x00", reply: "\x05\x08\x00\x01\x00\x00\x00\x00\x00\x00"}
	s.request = "\x05\x01\x00\x04\x20\x01\x0d\xb8" + strings.Repeat("\x00", 11) + "\x01\x01\xbb"
	_, err := dialSOCKS(t, "socks5://proxy.test", "[2001:db8::1]:443", s, false)
	want := "forward proxy socks5://proxy.test:1080: connect [2001:db8::1]:443: the proxy cannot reach IPv6 addresses, " +
		"try the name of the target: the proxy does not support this type of address (SOCKS5 reply 8)"
	if text(err) != want {
		t.Errorf("error\n got %v\nwant %s", err, want)
	}
	var reply proxy.Reply
	if !errors.As(err, &reply) || reply != 8 {
		t.Errorf("reply %d, want 8", reply)
	}
	s.request, s.reply = "\x05\x01\x00\x01\xc0\x00\x02\x01\x01\xbb", socksOpen
	conn, err := dialSOCKS(t, "socks5h://proxy.test", "192.0.2.1:443", s, false)
	if err != nil {
		t.Fatal(err)
	}
	conn.Close()
}
