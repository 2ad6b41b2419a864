package check_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/pomerium/pomerium-cli/internal/check"
)

func TestTrips(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := 0
		got := walkPiped(t, check.StepTrips, check.Walk{Speed: true}, func(c net.Conn) {
			in := bufio.NewReader(c)
			for {
				req, err := http.ReadRequest(in)
				if err != nil {
					return
				}
				if req.URL.Path == "/ping" {
					<-time.After(time.Duration(n) * 10 * time.Millisecond)
					n++
				}
				io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
			}
		})
		if want := (check.Trips{Count: 20, Least: 10, Median: 110, Most: 200}); got.Trips == nil || *got.Trips != want {
			t.Errorf("got %+v, want %+v", got.Trips, want)
		}
	})
}

// A script is an edge's answer to who wants to time bytes.
type script struct {
	status int           // 0: 200
	size   int           // bytes
	pause  time.Duration // before each piece of 64 KiB
	first  time.Duration // the pause of the first answer, where that is another
	think  time.Duration // before an answer
	header string
	cut    int // bytes of the second answer, after which the connection ends; 0: it goes on
}

// serve answers requests on a connection.
func (a script) serve(c net.Conn) {
	in := bufio.NewReader(c)
	pause := a.pause
	if a.first != 0 {
		pause = a.first
	}
	for scripts := 0; ; {
		req, err := http.ReadRequest(in)
		if err != nil {
			return
		}
		if req.URL.Path != "/.pomerium/index.js" {
			io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nOK")
			continue
		}
		if scripts++; scripts == 2 {
			pause = a.pause
		}
		<-time.After(a.think)
		fmt.Fprintf(c, "HTTP/1.1 %d \r\n%sContent-Length: %d\r\n\r\n", max(a.status, 200), a.header, a.size)
		left := a.size
		if a.cut > 0 && scripts == 2 {
			left = a.cut
		}
		for left > 0 {
			n := min(left, 64<<10)
			<-time.After(pause)
			if _, err := io.WriteString(c, strings.Repeat("x", n)); err != nil {
				return
			}
			left -= n
		}
		if a.cut > 0 && scripts == 2 || a.header != "" {
			return
		}
	}
}

// TestSpeed: what is counted, and what is told where there is nothing to count.
func TestSpeed(t *testing.T) {
	const none = "the server has no page that is large enough to time: GET /.pomerium/index.js brings "
	for _, tc := range []struct {
		name string
		edge script
		want check.Step
	}{
		// What passes between two answers has no share in it.
		{"until 32 MiB have come", script{size: 1 << 20, pause: 5 * time.Millisecond},
			check.Step{State: check.OK, Down: &check.Down{Bytes: 32 << 20, Seconds: 2.56, Rate: 13107200}}},
		{"a far edge", script{size: 1 << 20, pause: time.Millisecond, think: 100 * time.Millisecond},
			check.Step{State: check.OK, Down: &check.Down{Bytes: 32 << 20, Seconds: 0.512, Rate: 65536000}}},
		{"the first answer is not counted", script{size: 1 << 20, pause: time.Millisecond, first: 100 * time.Millisecond},
			check.Step{State: check.OK, Down: &check.Down{Bytes: 32 << 20, Seconds: 0.512, Rate: 65536000}}},
		{"until 5 s are over", script{size: 1 << 20, pause: 30 * time.Millisecond},
			check.Step{State: check.OK, Down: &check.Down{Bytes: 166 * 64 << 10, Seconds: 5, Rate: 166 * 64 << 10 / 5.}}},
		{"not one answer in 5 s", script{size: 1 << 20, pause: 900 * time.Millisecond},
			check.Step{State: check.OK, Down: &check.Down{Bytes: 5 * 64 << 10, Seconds: 5, Rate: 64 << 10}}},
		{"one answer a connection", script{size: 1 << 20, pause: time.Millisecond, header: "Connection: close\r\n"},
			check.Step{State: check.OK, Down: &check.Down{Bytes: 1 << 20, Seconds: 0.016, Rate: 65536000}}},
		{"cut in the second answer", script{size: 1 << 20, pause: time.Millisecond, cut: 128 << 10},
			check.Step{State: check.Note, Error: "unexpected EOF", Down: &check.Down{Bytes: 128 << 10, Seconds: 0.002, Rate: 65536000}}},
		{"no such page", script{status: 404, size: 10}, check.Step{State: check.Note, Error: none + "404 Not Found"}},
		{"a redirect", script{status: 302, size: 1 << 20}, check.Step{State: check.Note, Error: none + "302 Found"}},
		{"too small", script{size: 64<<10 - 1}, check.Step{State: check.Note, Error: none + "65535 bytes"}},
		{"too small, and the last one", script{size: 10, header: "Connection: close\r\n"}, check.Step{State: check.Note, Error: none + "10 bytes"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				got := walkPiped(t, check.StepSpeed, check.Walk{Speed: true}, tc.edge.serve)
				tc.want.Name, tc.want.At, tc.want.Target = check.StepSpeed, "http://127.0.0.1:1", "/.pomerium/index.js"
				got.Err = nil
				if diff := cmp.Diff(tc.want, got); diff != "" {
					t.Error(diff)
				}
			})
		})
	}
}
