package pgtest

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"maps"
	"math/big"
	"os"
	"path/filepath"
	"time"
)

// WithTLS makes every connection between the nodes one with TLS, as libpq and
// pgx do where the server offers it.
func WithTLS() Option { return func(p *plan) { p.prepare = append(p.prepare, offerTLS) } }

// offerTLS makes a key and a certificate in dir and returns settings with them.
func offerTLS(dir string, settings map[string]string) (map[string]string, error) {
	key, certificate, err := newCertificate()
	if err != nil {
		return nil, err
	}
	a, err := serverAccount()
	if err != nil {
		return nil, err
	}
	out := map[string]string{"ssl": "on"}
	maps.Copy(out, settings)
	for name, block := range map[string]*pem.Block{
		"ssl_key_file":  {Type: "PRIVATE KEY", Bytes: key},
		"ssl_cert_file": {Type: "CERTIFICATE", Bytes: certificate},
	} {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, pem.EncodeToMemory(block), 0o600); err != nil {
			return nil, err
		}
		if err := a.own(path); err != nil {
			return nil, err
		}
		out[name] = path
	}
	return out, nil
}

// newCertificate makes one that is signed by itself; both results are DER.
func newCertificate() (key, certificate []byte, err error) {
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, err
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "bdr test"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour)}
	if certificate, err = x509.CreateCertificate(rand.Reader, template, template, &private.PublicKey, private); err != nil {
		return nil, nil, err
	}
	key, err = x509.MarshalPKCS8PrivateKey(private)
	return key, certificate, err
}
