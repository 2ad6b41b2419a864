package listen_test

import (
	"errors"
	"fmt"
	"net"
	"os"
	"reflect"
	"strings"
	"testing"

	"github.com/pomerium/pomerium-cli/internal/listen"
)

const procNetTCP = `  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 0100007F:1538 00000000:0000 0A 00000000:00000000 00:00000000 00000000   112        0 23145 1 0000000000000000 100 0 0 10 0
   1: 0100007F:1538 0100007F:A2F4 01 00000000:00000000 00:00000000 00000000   112        0 99999 1 0000000000000000 20 4 30 10 -1
   2: 00000000:0016 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 18400 1 0000000000000000 100 0 0 10 0
   3: 00000000:1538 00000000:0000 0A
`

func TestListeners(t *testing.T) {
	for port, want := range map[uint16][]string{5432: {"23145"}, 22: {"18400"}, 80: nil} {
		if got := listen.Listeners(strings.NewReader(procNetTCP), port); !reflect.DeepEqual(got, want) {
			t.Errorf("port %d: %v, want %v", port, got, want)
		}
	}
}

func TestHolderIsNamed(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	_, err = listen.Open(ln.Addr().String())
	var e *listen.Error
	if !errors.As(err, &e) {
		t.Fatalf("got %v", err)
	}
	if want := fmt.Sprintf("(pid %d)", os.Getpid()); !strings.HasSuffix(e.Holder, want) {
		t.Fatalf("holder %q, want one that ends in %q", e.Holder, want)
	}
}

func FuzzListeners(f *testing.F) {
	f.Add(procNetTCP, uint16(5432))
	f.Add("", uint16(0))
	f.Add("a :zz c 0A e f g h i j", uint16(1))
	f.Fuzz(func(_ *testing.T, table string, port uint16) {
		listen.Listeners(strings.NewReader(table), port)
	})
}
