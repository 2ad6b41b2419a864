package world

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"time"
)

// Authority is a private certificate authority with the one certificate that it has issued, as PEM files.
type Authority struct {
	CA, Cert, Key string
	CAKey         string // for who issues more, as a proxy does that opens TLS
}

// NewAuthority writes the files of an authority that vouches for the names, or addresses, given.
func NewAuthority(dir, name string, names ...string) (Authority, error) {
	file := func(kind string) string { return filepath.Join(dir, name+"-"+kind+".pem") }
	a := Authority{CA: file("ca"), Cert: file("cert"), Key: file("key"), CAKey: file("ca-key")}
	root := certificate(1, "e2e "+name+" CA")
	root.IsCA, root.BasicConstraintsValid, root.KeyUsage = true, true, x509.KeyUsageCertSign
	rootKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return a, err
	}
	rootDER, err := x509.CreateCertificate(rand.Reader, root, root, rootKey.Public(), rootKey)
	if err != nil {
		return a, err
	}
	leaf := certificate(2, names[0])
	leaf.KeyUsage = x509.KeyUsageDigitalSignature
	leaf.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}
	for _, n := range names {
		if ip := net.ParseIP(n); ip != nil {
			leaf.IPAddresses = append(leaf.IPAddresses, ip)
		} else {
			leaf.DNSNames = append(leaf.DNSNames, n)
		}
	}
	leafKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return a, err
	}
	leafDER, err := x509.CreateCertificate(rand.Reader, leaf, root, leafKey.Public(), rootKey)
	if err != nil {
		return a, err
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(leafKey)
	if err != nil {
		return a, err
	}
	rootKeyDER, err := x509.MarshalPKCS8PrivateKey(rootKey)
	if err != nil {
		return a, err
	}
	for _, f := range []struct {
		name, kind string
		der        []byte
	}{{a.CA, "CERTIFICATE", rootDER}, {a.Cert, "CERTIFICATE", leafDER}, {a.Key, "PRIVATE KEY", keyDER}, {a.CAKey, "PRIVATE KEY", rootKeyDER}} {
		// The keys may be read by anyone: proxies run as users of their own, and they guard nothing but this test.
		if err := os.WriteFile(f.name, pem.EncodeToMemory(&pem.Block{Type: f.kind, Bytes: f.der}), 0o644); err != nil {
			return a, err
		}
	}
	return a, nil
}

func certificate(serial int64, name string) *x509.Certificate {
	return &x509.Certificate{
		SerialNumber: big.NewInt(serial),
		Subject:      pkix.Name{CommonName: name},
		NotBefore:    time.Now().Add(-time.Hour),
		NotAfter:     time.Now().Add(24 * time.Hour),
	}
}
