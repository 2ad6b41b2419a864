package listen

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// stateListen is TCP_LISTEN in the st column of /proc/net/tcp.
const stateListen = "0A"

// holder names the program that listens on a TCP port, as far as this user may
// know it, or "".
func holder(port uint16) string {
	inodes := make(map[string]bool)
	for _, name := range []string{"/proc/net/tcp", "/proc/net/tcp6"} {
		f, err := os.Open(name)
		if err != nil {
			continue
		}
		for _, inode := range listeners(f, port) {
			inodes["socket:["+inode+"]"] = true
		}
		_ = f.Close()
	}
	if len(inodes) == 0 {
		return ""
	}
	return owner(inodes)
}

// listeners reads a table as /proc/net/tcp prints it, and returns the inode
// numbers of the sockets that listen on a port.
func listeners(table io.Reader, port uint16) []string {
	const local, state, inode = 1, 3, 9 // columns, see proc_net_tcp.rst
	var found []string
	for lines := bufio.NewScanner(table); lines.Scan(); {
		f := strings.Fields(lines.Text())
		if len(f) <= inode || f[state] != stateListen {
			continue
		}
		_, hex, _ := strings.Cut(f[local], ":")
		if n, err := strconv.ParseUint(hex, 16, 16); err == nil && uint16(n) == port {
			found = append(found, f[inode])
		}
	}
	return found
}

// owner finds the process that has one of these sockets open.
func owner(links map[string]bool) string {
	descriptors, _ := filepath.Glob("/proc/[0-9]*/fd/*")
	for _, d := range descriptors {
		link, err := os.Readlink(d)
		if err != nil || !links[link] {
			continue
		}
		process := filepath.Dir(filepath.Dir(d))
		name, err := os.ReadFile(filepath.Join(process, "comm"))
		if err != nil {
			continue
		}
		return fmt.Sprintf("%s (pid %s)", strings.TrimSpace(string(name)), filepath.Base(process))
	}
	return ""
}
