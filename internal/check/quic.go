package check

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"time"
)

// The numbers of RFC 8999, which hold for every version of QUIC, and of RFC 9000.
const (
	longHeader     = 0x80       // first bit of a packet that has a version in it (RFC 8999 5.1)
	fixedBit       = 0x40       // RFC 9000 17.2: without it a server may drop the packet unread
	greased        = 0x1a2a3a4a // a version that no server has (RFC 9000 15)
	negotiation    = 0          // the version of a Version Negotiation packet (RFC 8999 6)
	connectionID   = 8          // bytes of each connection ID: a server answers none that is shorter (RFC 9000 7.2)
	leastDatagram  = 1200       // bytes: a server answers no smaller one (RFC 9000 6.1)
	knockRepeat    = 400 * time.Millisecond
	knocks         = 5
	maxDatagram    = 1500
	versionsListed = 32
)

// knock sends a packet of a version that nobody speaks over conn until an
// answer comes, and returns the versions of QUIC that the other side names. It
// costs a server no state (RFC 9000 6.1). Over UDP silence is an answer as well:
// it takes two seconds.
func knock(ctx context.Context, conn net.Conn) (versions []uint32, err error) {
	stop := context.AfterFunc(ctx, func() { conn.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	packet, ours := versionProbe()
	answer := make([]byte, maxDatagram)
	for range knocks {
		if _, err := conn.Write(packet); err != nil {
			return nil, err
		}
		if err := conn.SetReadDeadline(time.Now().Add(knockRepeat)); err != nil {
			return nil, err
		}
		for {
			n, err := conn.Read(answer)
			if ctx.Err() != nil {
				return nil, context.Cause(ctx)
			}
			if late := (net.Error)(nil); errors.As(err, &late) && late.Timeout() {
				break
			}
			if err != nil {
				return nil, err
			}
			if versions, err := parseVersions(answer[:n], ours); err == nil {
				return versions, nil
			}
		}
	}
	return nil, errSilence
}

var errSilence = fmt.Errorf("no answer to %d packets", knocks)

// versionProbe makes the packet, and the connection ID that the answer has to
// be for.
func versionProbe() (packet, ours []byte) {
	ids := make([]byte, 2*connectionID)
	rand.Read(ids)
	packet = []byte{longHeader | fixedBit}
	packet = binary.BigEndian.AppendUint32(packet, greased)
	packet = append(append(packet, connectionID), ids[:connectionID]...)
	packet = append(append(packet, connectionID), ids[connectionID:]...)
	return append(packet, make([]byte, leastDatagram-len(packet))...), ids[connectionID:]
}

var errNotNegotiation = errors.New("not a QUIC version negotiation packet that answers ours")

// parseVersions reads a Version Negotiation packet (RFC 8999 6) to a connection
// ID of ours. Versions that only exercise the mechanism are left out.
func parseVersions(packet, ours []byte) ([]uint32, error) {
	if len(packet) < 7 || packet[0]&longHeader == 0 || binary.BigEndian.Uint32(packet[1:]) != negotiation {
		return nil, errNotNegotiation
	}
	to, rest, ok := cutID(packet[5:])
	if !ok || string(to) != string(ours) {
		return nil, errNotNegotiation
	}
	if _, rest, ok = cutID(rest); !ok || len(rest) == 0 || len(rest)%4 != 0 {
		return nil, errNotNegotiation
	}
	var versions []uint32
	for ; len(rest) > 0 && len(versions) < versionsListed; rest = rest[4:] {
		if v := binary.BigEndian.Uint32(rest); v&0x0f0f0f0f != 0x0a0a0a0a {
			versions = append(versions, v)
		}
	}
	return versions, nil
}

// cutID takes a connection ID, which has its length in front, off packet.
func cutID(packet []byte) (id, rest []byte, ok bool) {
	if len(packet) == 0 || len(packet) <= int(packet[0]) {
		return nil, nil, false
	}
	end := 1 + int(packet[0])
	return packet[1:end], packet[end:], true
}

// versionName is how people write a version of QUIC.
func versionName(v uint32) string {
	switch {
	case v == 1:
		return "QUIC 1"
	case v == 0x6b3343cf: // RFC 9369
		return "QUIC 2"
	case v>>8 == 0xff0000:
		return fmt.Sprintf("draft-%d", v&0xff)
	}
	return fmt.Sprintf("%#08x", v)
}
