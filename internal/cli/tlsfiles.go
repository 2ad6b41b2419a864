package cli

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"os"
	"strings"
)

// authorities are certificates that are trusted besides the system's own.
type authorities struct{ pems [][]byte }

// pool builds the pool when the first handshake needs it: reading the system's
// certificates takes milliseconds that a start without a connection must not
// pay. nil, which crypto/tls reads as the system's own, when none were added.
func (a authorities) pool() *x509.CertPool {
	if len(a.pems) == 0 {
		return nil
	}
	pool, err := x509.SystemCertPool()
	if err != nil {
		pool = x509.NewCertPool() // a system without a store: the given ones alone
	}
	for _, p := range a.pems {
		pool.AppendCertsFromPEM(p)
	}
	return pool
}

// addFile takes the certificates of a PEM file, named by a flag.
func (a *authorities) addFile(flag, path string) error {
	if path == "" {
		return nil
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return usagef("%s %s: %w", flag, path, cause(err))
	}
	if err := checkCertificates(data); err != nil {
		return usagef("%s %s: %w", flag, path, err)
	}
	a.pems = append(a.pems, data)
	return nil
}

// addBase64 takes certificates from the base64 text of a PEM file.
func (a *authorities) addBase64(flag, text string) error {
	if text == "" {
		return nil
	}
	data, err := base64.StdEncoding.DecodeString(strings.Join(strings.Fields(text), ""))
	if err != nil {
		return usagef("%s: not base64", flag)
	}
	if err := checkCertificates(data); err != nil {
		return usagef("%s: %w", flag, err)
	}
	a.pems = append(a.pems, data)
	return nil
}

// checkCertificates makes sure that PEM text has a certificate and that each
// of them can be read: x509.CertPool would leave out the others in silence.
func checkCertificates(data []byte) error {
	found := false
	for {
		var block *pem.Block
		block, data = pem.Decode(data)
		if block == nil {
			break
		}
		if block.Type != "CERTIFICATE" {
			continue
		}
		if _, err := x509.ParseCertificate(block.Bytes); err != nil {
			return errors.New("holds a certificate that cannot be read: " + strings.TrimPrefix(err.Error(), "x509: "))
		}
		found = true
	}
	if !found {
		return errors.New("holds no PEM certificate")
	}
	return nil
}

// clientCertificate reads the certificate with which we answer when the other
// end asks for one, given with the flags that begin with flag. nil without one.
func clientCertificate(flag, certPath, keyPath string) (*tls.Certificate, error) {
	certFlag, keyFlag := flag+"-cert", flag+"-key"
	switch {
	case certPath == "" && keyPath == "":
		return nil, nil
	case keyPath == "":
		return nil, usagef("%s without %s: a certificate is of no use without its key", certFlag, keyFlag)
	case certPath == "":
		return nil, usagef("%s without %s: a key is of no use without its certificate", keyFlag, certFlag)
	}
	certPEM, err := os.ReadFile(certPath)
	if err != nil {
		return nil, usagef("%s %s: %w", certFlag, certPath, cause(err))
	}
	keyPEM, err := os.ReadFile(keyPath)
	if err != nil {
		return nil, usagef("%s %s: %w", keyFlag, keyPath, cause(err))
	}
	if err := checkCertificates(certPEM); err != nil {
		return nil, usagef("%s %s: %w", certFlag, certPath, err)
	}
	pair, err := tls.X509KeyPair(certPEM, keyPEM)
	if err != nil {
		return nil, usagef("%s %s: %s", keyFlag, keyPath, strings.TrimPrefix(err.Error(), "tls: "))
	}
	return &pair, nil
}
