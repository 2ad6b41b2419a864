package world_test

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"net"
	"testing"
	"time"

	"github.com/pomerium/pomerium-cli/e2e/world"
)

func TestDelay(t *testing.T) {
	targetLn, delayLn := listen(t), listen(t)
	go world.ServeTarget(targetLn)
	const oneWay = 20 * time.Millisecond
	d := &world.Delay{OneWay: oneWay, Dial: func() (net.Conn, error) { return net.Dial("tcp", targetLn.Addr().String()) }}
	go d.Serve(delayLn)
	defer d.Close()
	start := time.Now()
	conn, err := net.Dial("tcp", delayLn.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	const size = 8 << 20
	fmt.Fprint(conn, world.Order{Send: size, Take: size, End: world.Digest})
	go io.Copy(conn, io.LimitReader(world.NewPattern(), size))
	first := make([]byte, 1)
	io.ReadFull(conn, first)
	if took := time.Since(start); took < 4*oneWay { // a handshake and a request
		t.Errorf("the first byte took %s, less than two round trips", took)
	}
	sum := sha256.New()
	sum.Write(first)
	io.CopyN(sum, conn, size-1)
	rest, err := io.ReadAll(conn)
	if got := hex.EncodeToString(sum.Sum(nil)); got != world.Sum(size) || string(rest) != got {
		t.Errorf("bytes differ: down %s, up %s, want %s, %v", got, rest, world.Sum(size), err)
	}
}

func listen(t *testing.T) net.Listener {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ln.Close() })
	return ln
}
