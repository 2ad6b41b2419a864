//go:build linux

package world

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
)

// The addresses of the three hosts, from the range that RFC 2544 sets aside for tests of network devices.
const (
	userAddr   = "198.18.1.2"
	proxyAddr  = "198.18.1.1" // towards the user
	proxyOuter = "198.18.2.1" // towards the edge
	edgeAddr   = "198.18.2.2"
	nobodyAddr = "198.18.3.1" // the user's name server: a look-up is a packet past the proxies, and is counted as one
)

// unlocked lets root in by key: no password, yet not locked. OpenSSH tells them apart.
const unlocked = "root:*:19000:0:99999:7:::\n"

// Network is three hosts in a row: user - proxy - edge. The proxy's host forwards no packet, and only there does
// the edge's name resolve. So what gets from the user to the edge got there through a forward proxy.
type Network struct {
	UserHost, ProxyHost, EdgeHost *Host
}

// NewNetwork makes the hosts and wires them. The files of each are kept below dir.
func NewNetwork(ctx context.Context, dir string) (_ *Network, err error) {
	n := &Network{}
	defer func() {
		if err != nil {
			n.Close()
		}
	}()
	const local = "127.0.0.1 localhost\n::1 localhost\n"
	passwd, err := os.ReadFile("/etc/passwd")
	if err != nil {
		return nil, err
	}
	self, err := os.Hostname() // squid's helper for Negotiate and Wine want to look it up
	if err != nil {
		return nil, err
	}
	if n.UserHost, err = NewHost("user", dir, map[string]string{
		"hosts":       local + "127.0.0.1 " + self + "\n" + proxyAddr + " proxy.test alias.test\n",
		"resolv.conf": "nameserver " + nobodyAddr + "\noptions timeout:1 attempts:1\n",
	}); err != nil {
		return nil, err
	}
	if n.ProxyHost, err = NewHost("proxy", dir, map[string]string{
		"hosts":  local + proxyAddr + " proxy.test " + self + "\n" + edgeAddr + " " + EdgeName + " " + KubernetesName + " " + idpName + "\n",
		"passwd": string(passwd) + account, "shadow": unlocked + accountShadow,
		"resolv.conf": "",
	}); err != nil {
		return nil, err
	}
	if n.EdgeHost, err = NewHost("edge", dir, map[string]string{
		"hosts":       local,
		"shadow":      unlocked,
		"resolv.conf": "",
	}); err != nil {
		return nil, err
	}
	if err = join(ctx, n.UserHost, userAddr, n.ProxyHost, proxyAddr); err != nil {
		return nil, err
	}
	if err = join(ctx, n.ProxyHost, proxyOuter, n.EdgeHost, edgeAddr); err != nil {
		return nil, err
	}
	// A direct packet is to be seen and counted by the neighbour, not refused by the user's own kernel.
	_, err = n.UserHost.Run(ctx, "ip", "route", "add", "default", "via", proxyAddr)
	return n, err
}

// join lays a cable between two hosts; each end is named after the host at the other.
func join(ctx context.Context, a *Host, addrA string, b *Host, addrB string) error {
	cable := fmt.Sprintf("link add %s netns %d type veth peer name %s netns %d", b.Name, a.holder.Process.Pid, a.Name, b.holder.Process.Pid)
	if out, err := exec.CommandContext(ctx, "ip", strings.Fields(cable)...).CombinedOutput(); err != nil {
		return fmt.Errorf("ip %s: %w\n%s", cable, err, out)
	}
	for _, end := range []struct {
		on        *Host
		dev, addr string
	}{{a, b.Name, addrA}, {b, a.Name, addrB}} {
		if _, err := end.on.Run(ctx, "ip", "address", "add", end.addr+"/24", "dev", end.dev); err != nil {
			return err
		}
		if _, err := end.on.Run(ctx, "ip", "link", "set", "up", "dev", end.dev); err != nil {
			return err
		}
	}
	return nil
}

// Close ends every process on every host.
func (n *Network) Close() {
	for _, h := range []*Host{n.UserHost, n.ProxyHost, n.EdgeHost} {
		if h != nil {
			h.Close()
		}
	}
}

// Strays counts the packets with which the user's host tried to go past the forward proxies: those for another address than the
// proxies' host has, which arrived there and went no further.
func (n *Network) Strays() (int, error) {
	snmp, err := n.ProxyHost.NetFile("snmp")
	if err != nil {
		return 0, err
	}
	return counter(snmp, "Ip", "InAddrErrors"), nil
}

// counter picks one number out of /proc/net/snmp, whose lines come in pairs: the names, then the values.
func counter(snmp []byte, protocol, name string) int {
	lines := strings.Split(string(snmp), "\n")
	for i := 0; i+1 < len(lines); i += 2 {
		if !strings.HasPrefix(lines[i], protocol+":") {
			continue
		}
		values := strings.Fields(lines[i+1])
		for column, heading := range strings.Fields(lines[i]) {
			if heading == name {
				n, _ := strconv.Atoi(values[column])
				return n
			}
		}
	}
	return -1
}
