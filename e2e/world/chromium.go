//go:build linux

package world

import (
	"context"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// Chromium is a browser on a host.
type Chromium struct {
	*Process
	DevTools string // where to drive it from, as a URL that this process reaches
}

// StartChromium starts a browser on a host that trusts the certificates of the authorities. Its own chatter is switched off; what it
// is told to open it reaches by the flags given, such as --proxy-server. Stop it.
func (w *World) StartChromium(ctx context.Context, h *Host, trusted []Authority, flags ...string) (*Chromium, error) {
	dir, err := os.MkdirTemp(h.dir, "chromium-")
	if err != nil {
		return nil, err
	}
	var pins []string
	for _, a := range trusted {
		pin, err := publicKeyPin(a.Cert)
		if err != nil {
			return nil, err
		}
		pins = append(pins, pin)
	}
	cmd := command("chromium", append([]string{
		"--headless=new", "--no-sandbox", "--remote-debugging-port=0", "--user-data-dir=" + dir, "--no-first-run", "--disable-gpu",
		"--disable-dev-shm-usage", "--disable-background-networking", "--disable-component-update", "--disable-sync",
		"--disable-default-apps", "--force-renderer-accessibility", "--window-size=1000,700",
		"--ignore-certificate-errors-spki-list=" + strings.Join(pins, ","),
	}, append(flags, "about:blank")...)...)
	cmd.Env = append(os.Environ(), "HOME="+dir)
	p, err := h.Launch(ctx, filepath.Base(dir), "", cmd)
	if err != nil {
		return nil, err
	}
	c := &Chromium{Process: p}
	if c.DevTools, err = c.reach(ctx, filepath.Join(dir, "DevToolsActivePort"), w); err != nil {
		c.Kill()
		return nil, fmt.Errorf("starting chromium: %w\n%s", err, c.Tail())
	}
	return c, nil
}

// reach waits until the browser says where it can be driven, and makes that reachable from here.
func (c *Chromium) reach(ctx context.Context, file string, w *World) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		content, _ := os.ReadFile(file)
		if port, path, ok := strings.Cut(strings.TrimSpace(string(content)), "\n"); ok {
			addr, err := w.bridge(c.host, "127.0.0.1:"+port)
			return "ws://" + addr + path, err
		}
		select {
		case <-tick.C:
		case <-c.done:
			return "", fmt.Errorf("it ended: %s", c.cmd.ProcessState)
		case <-ctx.Done():
			return "", ctx.Err()
		}
	}
}

// bridge listens where this process is, for an address on a host.
func (w *World) bridge(h *Host, to string) (string, error) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	w.onClose(func() { ln.Close() })
	go func() { // ended by closing ln
		for {
			near, err := ln.Accept()
			if err != nil {
				return
			}
			far, err := h.Dial("tcp", to)
			if err != nil {
				near.Close()
				continue
			}
			go func() { io.Copy(far, near); far.Close() }()
			go func() { io.Copy(near, far); near.Close() }()
		}
	}()
	return ln.Addr().String(), nil
}

// publicKeyPin is how Chromium names the key of a certificate.
func publicKeyPin(file string) (string, error) {
	content, err := os.ReadFile(file)
	if err != nil {
		return "", err
	}
	block, _ := pem.Decode(content)
	if block == nil {
		return "", fmt.Errorf("%s holds no certificate", file)
	}
	cert, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		return "", err
	}
	sum := sha256.Sum256(cert.RawSubjectPublicKeyInfo)
	return base64.StdEncoding.EncodeToString(sum[:]), nil
}
