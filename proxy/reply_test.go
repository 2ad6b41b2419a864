package proxy_test

import (
	"io"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/pomerium/pomerium-cli/proxy"
)

// A replyCase is what a proxy answers to CONNECT, and what that means.
type replyCase struct {
	name  string
	reply string
	early string // what the tunnel delivers before the echo; the end of reply
	err   string // the error's text behind the hop; empty: the tunnel opens
}

// run plays the reply in one piece over a socket, and byte by byte over a pipe.
func (tc replyCase) run(t *testing.T) {
	t.Run(tc.name, func(t *testing.T) {
		t.Run("whole", func(t *testing.T) {
			addr := serve(t, func(c net.Conn, _ int) {
				readHead(c)
				io.WriteString(c, tc.reply)
				tc.after(c)
			})
			tc.check(t, to(addr))
		})
		t.Run("byte by byte", func(t *testing.T) {
			tc.check(t, piped(t, func(c net.Conn) {
				readHead(c)
				for i := range len(tc.reply) {
					if _, err := io.WriteString(c, tc.reply[i:i+1]); err != nil {
						return
					}
				}
				tc.after(c)
			}))
		})
	})
}

// after goes on as the target, or closes.
func (tc replyCase) after(c net.Conn) {
	if tc.err == "" {
		echo(c)
	}
}

func (tc replyCase) check(t *testing.T, dial proxy.DialFunc) {
	conn, err := hop(t, "http://proxy.test:3128", dial).DialContext(t.Context(), "tcp", target)
	if err != nil {
		got := strings.TrimPrefix(err.Error(), "forward proxy http://proxy.test:3128: connect edge.test:443: ")
		if got != tc.err {
			t.Errorf("error\n got %s\nwant %s", got, tc.err)
		}
		return
	}
	defer conn.Close()
	if tc.err != "" {
		t.Fatalf("the tunnel opened, want error %q", tc.err)
	}
	exchangeEcho(t, conn, tc.early)
}

func TestEdgeCase01_InterimAnswers(t *testing.T) {
	for _, tc := range []replyCase{
		{name: "100 then 200", reply: "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n\r\n"},
		{name: "103 then 200", reply: "HTTP/1.1 103 Early Hints\r\nLink: <x>\r\n\r\nHTTP/1.1 200 OK\r\n\r\n"},
		{name: "several", reply: strings.Repeat("HTTP/1.1 102 Processing\r\n\r\n", 16) + "HTTP/1.1 200 OK\r\n\r\nhi", early: "hi"},
		{name: "too many", reply: strings.Repeat("HTTP/1.1 102 Processing\r\n\r\n", 17), err: "the proxy sent more than 16 interim answers (1xx)"},
		{name: "101 is no interim answer", reply: "HTTP/1.1 101 Switching Protocols\r\n\r\n", err: "101 Switching Protocols"},
	} {
		tc.run(t)
	}
}

func TestEdgeCase02_03_LengthOfASuccessIsIgnored(t *testing.T) {
	for _, tc := range []replyCase{
		{name: "content-length 5", reply: "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n"},
		{name: "content-length 5, early bytes", reply: "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello, edge", early: "hello, edge"},
		{name: "content-length 0", reply: "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"},
		{name: "chunked", reply: "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"},
		{name: "two lengths", reply: "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n"},
	} {
		tc.run(t)
	}
}

func TestEdgeCase04_Any2xxOpens(t *testing.T) {
	for _, status := range []string{"200", "201", "204", "206", "299"} {
		replyCase{name: status, reply: "HTTP/1.1 " + status + " Fine\r\n\r\n"}.run(t)
	}
}

func TestEdgeCase05_EarlyBytes(t *testing.T) {
	for _, tc := range []replyCase{
		{name: "none", reply: "HTTP/1.1 200 OK\r\n\r\n"},
		{name: "some", reply: "HTTP/1.1 200 OK\r\nVia: 1.1 x\r\n\r\nSSH-2.0-x\r\n", early: "SSH-2.0-x\r\n"},
		{name: "that look like a header's end", reply: "HTTP/1.1 200 OK\r\n\r\n\r\n\r\n", early: "\r\n\r\n"},
		{name: "more than the first buffer", reply: "HTTP/1.1 200 OK\r\n\r\n" + strings.Repeat("x", 5000), early: strings.Repeat("x", 5000)},
	} {
		tc.run(t)
	}
}

func TestEdgeCase06_07_LenientHeads(t *testing.T) {
	for _, tc := range []replyCase{
		{name: "HTTP/1.0", reply: "HTTP/1.0 200 Connection established\r\n\r\n"},
		{name: "no reason", reply: "HTTP/1.1 200\r\n\r\n"},
		{name: "no reason but the space", reply: "HTTP/1.1 200 \r\n\r\n"},
		{name: "refusal without reason", reply: "HTTP/1.1 503\r\n\r\n", err: "503 Service Unavailable"},
		{name: "refusal of a number without a name", reply: "HTTP/1.1 599\r\n\r\n", err: "599"},
		{name: "LF only", reply: "HTTP/1.1 200 OK\nVia: x\n\nearly", early: "early"},
		{name: "CRLF then LF", reply: "HTTP/1.1 200 OK\r\nVia: x\n\r\nearly", early: "early"},
		{name: "odd case", reply: "HTTP/1.1 403 No\r\nx-sQUID-eRROR: ERR_ACCESS_DENIED 0\r\ncONTENT-lENGTH: 0\r\n\r\n",
			err: "403 No (X-Squid-Error: ERR_ACCESS_DENIED 0)"},
		{name: "folded", reply: "HTTP/1.1 403 No\r\nX-Squid-Error: ERR\r\n _DENIED\r\nContent-Length: 0\r\n\r\n",
			err: "403 No (X-Squid-Error: ERR _DENIED)"},
		{name: "fold before the first field", reply: "HTTP/1.1 200 OK\r\n folded\r\n\r\n"},
		{name: "line without a colon", reply: "HTTP/1.1 200 OK\r\nnonsense\r\n folded\r\nVia: x\r\n\r\n"},
	} {
		tc.run(t)
	}
}

func TestEdgeCase08_NotAnHTTPProxy(t *testing.T) {
	const no = "this port does not speak HTTP proxy"
	for _, tc := range []replyCase{
		{name: "closes", err: "the proxy closed the connection without an answer (is it an HTTP proxy?): unexpected EOF"},
		{name: "closes within", reply: "HTTP/1.1 200 OK\r\nVia", err: "the proxy closed the connection in the middle of its answer: unexpected EOF"},
		{name: "no number", reply: "HTTP/1.1 abc\r\n\r\n", err: no + `: it answered "HTTP/1.1 abc"`},
		{name: "short number", reply: "HTTP/1.1 20\r\n\r\n", err: no + `: it answered "HTTP/1.1 20"`},
		{name: "huge number", reply: "HTTP/1.1 2000\r\n\r\n", err: no + `: it answered "HTTP/1.1 2000"`},
	} {
		tc.run(t)
	}
	// What can be named depends on how much of it comes at once.
	for _, tc := range []struct{ name, reply, err string }{
		{"HTTP/2 text", "HTTP/2 200\r\n\r\n", no + `, it speaks HTTP/2: it answered "HTTP/2 200"`},
		{"HTTP/3 text", "HTTP/3 200\r\n\r\n", no + `: it answered "HTTP/3 200"`},
		{"HTTP/2 frame", "\x00\x00\x12\x04\x00\x00\x00\x00\x00", no + ", it speaks HTTP/2"},
		{"TLS alert", "\x15\x03\x01\x00\x02\x02\x0a", no + ", it speaks TLS"},
		{"SSH banner", "SSH-2.0-OpenSSH_9.9\r\n", no + `, it speaks SSH: it answered "SSH-2.0-OpenSSH_9.9"`},
		{"mail banner", "220 mail.test ESMTP\r\n", no + `: it answered "220 mail.test ESMTP"`},
		{"SOCKS5", "\x05\xff", no + ", it speaks SOCKS"},
		{"SOCKS4", "\x00\x5b\x00\x00", no + ", it speaks SOCKS"},
		{"binary", "\xff\xfe\xfd", no},
	} {
		t.Run(tc.name, func(t *testing.T) {
			dial := piped(t, func(c net.Conn) { readHead(c); io.WriteString(c, tc.reply) })
			replyCase{err: tc.err}.check(t, dial)
		})
	}
}

func TestEdgeCase09_EndlessHeads(t *testing.T) {
	for _, tc := range []struct{ name, start, more string }{
		{"many lines", "HTTP/1.1 200 OK\r\n", "X-Filler: 0123456789abcdef\r\n"},
		{"one line", "HTTP/1.1 200 OK\r\nX-Filler: ", "0123456789abcdef"},
		{"one reason", "HTTP/1.1 200 ", "0123456789abcdef"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			sent := make(chan int, 1)
			addr := serve(t, func(c net.Conn, _ int) {
				readHead(c)
				io.WriteString(c, tc.start)
				n, chunk := 0, strings.Repeat(tc.more, 1000)
				for n < 300<<20 {
					m, err := io.WriteString(c, chunk)
					if n += m; err != nil {
						break
					}
				}
				sent <- n
			})
			replyCase{err: "the header of the proxy's answer is longer than 64 KiB"}.check(t, to(addr))
			if n := <-sent; n >= 300<<20 {
				t.Errorf("the proxy got rid of all %d bytes", n)
			}
		})
	}
	long := "HTTP/1.1 200 OK\r\nX-Filler: " + strings.Repeat("x", 60<<10) + "\r\n\r\n"
	replyCase{name: "60 KiB pass", reply: long + "early", early: "early"}.run(t)
}

func TestEdgeCase10_Silence(t *testing.T) {
	wait := func(c net.Conn) { io.Copy(io.Discard, c) }
	drip := func(c net.Conn) {
		readHead(c)
		for _, b := range []byte("HTTP/1.1 200 Very slow indeed\r\n\r\n") {
			time.Sleep(10 * time.Second) // of the bubble's clock
			if _, err := c.Write([]byte{b}); err != nil {
				return
			}
		}
	}
	for _, tc := range []struct {
		name, url string
		handle    func(net.Conn)
		timeout   time.Duration
		err       string
	}{
		{"after the request", "http://proxy.test:3128", wait, 0, ": connect edge.test:443: no answer within 15s"},
		{"a byte every 10 s", "http://proxy.test:3128", drip, 0, ": connect edge.test:443: no answer within 15s"},
		{"a limit of its own", "http://proxy.test:3128", wait, 3 * time.Second, ": connect edge.test:443: no answer within 3s"},
		{"before TLS", "https://proxy.test:443", wait, 0, ": tls: no end of the handshake within 15s"},
		{"SOCKS greeting", "socks5://proxy.test:1080", wait, 0, ": connect edge.test:443: no answer within 15s"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				start := time.Now()
				h := hop(t, tc.url, piped(t, tc.handle))
				h.Timeout = tc.timeout
				_, err := h.DialContext(t.Context(), "tcp", target)
				if err == nil || err.Error() != "forward proxy "+tc.url+tc.err {
					t.Errorf("error %v, want %s", err, tc.err)
				}
				limit := tc.timeout
				if limit == 0 {
					limit = proxy.DefaultTimeout
				}
				if took := time.Since(start); took != limit {
					t.Errorf("it took %v, want %v", took, limit)
				}
			})
		})
	}
	t.Run("no connection", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			h := hop(t, "http://proxy.test:3128", nil)
			h.Dial = proxy.Dialer{Lookup: lookup("192.0.2.1"), Dial: never}.DialContext
			_, err := h.DialContext(t.Context(), "tcp", target)
			if want := "forward proxy http://proxy.test:3128: no connection within 15s"; err == nil || err.Error() != want {
				t.Errorf("error %v, want %s", err, want)
			}
		})
	})
}

func TestEdgeCase11_Resets(t *testing.T) {
	reset := func(c net.Conn) { c.(*net.TCPConn).SetLinger(0) }
	t.Run("before the reply", func(t *testing.T) {
		addr := serve(t, func(c net.Conn, _ int) { readHead(c); reset(c) })
		_, err := hop(t, "http://proxy.test:3128", to(addr)).DialContext(t.Context(), "tcp", target)
		if failed := asError(t, err); failed.Op != proxy.OpConnect || !strings.Contains(err.Error(), "reading the proxy's answer: ") {
			t.Errorf("error %v", err)
		}
	})
	t.Run("in the middle of the head", func(t *testing.T) {
		addr := serve(t, func(c net.Conn, _ int) { readHead(c); io.WriteString(c, "HTTP/1.1 2"); reset(c) })
		_, err := hop(t, "http://proxy.test:3128", to(addr)).DialContext(t.Context(), "tcp", target)
		if failed := asError(t, err); failed.Op != proxy.OpConnect || !strings.Contains(err.Error(), "reading the proxy's answer: ") {
			t.Errorf("error %v", err)
		}
	})
	t.Run("end straight after 200", func(t *testing.T) {
		addr := serve(t, func(c net.Conn, _ int) { readHead(c); io.WriteString(c, "HTTP/1.1 200 OK\r\n\r\n") })
		conn, err := hop(t, "http://proxy.test:3128", to(addr)).DialContext(t.Context(), "tcp", target)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		if n, err := conn.Read(make([]byte, 1)); n != 0 || err != io.EOF {
			t.Errorf("Read = %d, %v, want the end", n, err)
		}
	})
}

func TestEdgeCase12_13_Refusals(t *testing.T) {
	for _, tc := range []struct {
		name, reply string
		want        proxy.Error
		text        string
	}{
		{
			"captive portal",
			"HTTP/1.1 302 Found\r\nLocation: https://login.hotel.test/?ticket=s3cret\r\nContent-Length: 0\r\n\r\n",
			proxy.Error{Status: 302, Location: "login.hotel.test"},
			"302 Found to login.hotel.test: a captive portal?",
		},
		{
			"squid",
			"HTTP/1.1 403 Forbidden\r\nX-Squid-Error: ERR_ACCESS_DENIED 0\r\nVia: 1.1 squid.test (squid/5.7)\r\nContent-Type: text/html\r\nContent-Length: 96\r\n\r\n" +
				"<html><head>\n<title>ERROR: Access\n Denied</title><style>x{}</style></head><body>x</body></html>\r\n",
			proxy.Error{Status: 403, Body: "ERROR: Access Denied", Header: map[string][]string{
				"X-Squid-Error": {"ERR_ACCESS_DENIED 0"}, "Via": {"1.1 squid.test (squid/5.7)"}}},
			"403 Forbidden: ERROR: Access Denied (X-Squid-Error: ERR_ACCESS_DENIED 0)",
		},
		{
			"proxy-status",
			"HTTP/1.1 504 Gateway Timeout\r\nProxy-Status: p.test; error=connection_timeout\r\nRetry-After: 30\r\nContent-Length: 0\r\n\r\n",
			proxy.Error{Status: 504, Header: map[string][]string{
				"Proxy-Status": {"p.test; error=connection_timeout"}, "Retry-After": {"30"}}},
			"504 Gateway Timeout (Proxy-Status: p.test; error=connection_timeout)",
		},
		{
			"plain text with control characters",
			"HTTP/1.1 502 Bad\x1b[2J Gateway\r\nContent-Type: text/plain\r\n\r\nno \x1b]0;pwned\x07route\r\n to host\x00\u202e\xff!",
			proxy.Error{Status: 502, Body: "no ]0;pwnedroute to host!"},
			"502 Bad[2J Gateway: no ]0;pwnedroute to host!",
		},
		{
			"page without a title",
			"HTTP/1.1 503 Busy\r\nTransfer-Encoding: chunked\r\nContent-Type: text/html; charset=utf-8\r\n\r\n" +
				"5\r\n<html\r\n25\r\n><body><!-- x --><h1>Too busy</h1> &a\r\n17\r\nmp; <b>closed</b></html\r\n1\r\n>\r\n0\r\n\r\n",
			proxy.Error{Status: 503, Body: "Too busy & closed"},
			"503 Busy: Too busy & closed",
		},
		{
			"compressed",
			"HTTP/1.1 503 Busy\r\nContent-Encoding: gzip\r\nContent-Length: 3\r\n\r\nabc",
			proxy.Error{Status: 503},
			"503 Busy",
		},
		{
			"long",
			"HTTP/1.1 503 Busy\r\n\r\n" + strings.Repeat("é", 300<<10),
			proxy.Error{Status: 503, Body: strings.Repeat("é", 200) + "…"},
			"503 Busy: " + strings.Repeat("é", 200) + "…",
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			addr := serve(t, func(c net.Conn, _ int) { readHead(c); io.WriteString(c, tc.reply) })
			_, err := hop(t, "http://proxy.test:3128", to(addr)).DialContext(t.Context(), "tcp", target)
			got := *asError(t, err)
			if want := "forward proxy http://proxy.test:3128: connect edge.test:443: " + tc.text; err.Error() != want {
				t.Errorf("error\n got %s\nwant %s", err, want)
			}
			got.Err, tc.want.Hop, tc.want.Op, tc.want.Target = nil, "http://proxy.test:3128", proxy.OpConnect, target
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("error (-want +got):\n%s", diff)
			}
		})
	}
	t.Run("a body that never ends is not waited for", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			start := time.Now()
			_, err := hop(t, "http://proxy.test:3128", piped(t, func(c net.Conn) {
				readHead(c)
				io.WriteString(c, "HTTP/1.1 403 No\r\nContent-Length: 100\r\n\r\nnot today")
				io.Copy(io.Discard, c)
			})).DialContext(t.Context(), "tcp", target)
			if want := "forward proxy http://proxy.test:3128: connect edge.test:443: 403 No: not today"; err.Error() != want {
				t.Errorf("error %v, want %s", err, want)
			}
			if took := time.Since(start); took != time.Second {
				t.Errorf("it took %v, want 1s", took)
			}
		})
	})
}
