// Package kubecred speaks with kubectl as a credential plugin does: it reads what
// kubectl asks for ([ParseRequest]), writes the ExecCredential in answer, and keeps
// credentials in the files of the existing client ([Cache]). It opens no
// connection: whether a token is good only the edge knows.
package kubecred

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"
)

// EnvInfo is the variable in which kubectl, since 1.20, says what it wants.
const EnvInfo = "KUBERNETES_EXEC_INFO"

const (
	group    = "client.authentication.k8s.io/"
	kind     = "ExecCredential"
	versions = "v1 or v1beta1"
	// Prefix is what the edge tells its own tokens by in a Bearer header, which is
	// all that kubectl can send.
	Prefix = "Pomerium-"
)

// Request is what kubectl asks for.
type Request struct {
	Version     string // v1 or v1beta1
	Interactive bool   // a person is there
	Server      string // of the API, where kubectl tells it; may be empty
}

// ParseRequest reads the value of EnvInfo. An empty one is that of an old
// kubectl, which knows v1beta1 and runs plugins in its own terminal.
func ParseRequest(info string) (Request, error) {
	if info == "" {
		return Request{Version: "v1beta1", Interactive: true}, nil
	}
	var asked struct {
		Kind       string `json:"kind"`
		APIVersion string `json:"apiVersion"`
		Spec       struct {
			Interactive *bool `json:"interactive"`
			Cluster     *struct {
				Server string `json:"server"`
			} `json:"cluster"`
		} `json:"spec"`
	}
	if json.Unmarshal([]byte(info), &asked) != nil {
		return Request{}, errors.New("not a JSON object of kubectl's")
	}
	version, ok := strings.CutPrefix(asked.APIVersion, group)
	if asked.Kind != kind || !ok || version != "v1" && version != "v1beta1" {
		return Request{}, fmt.Errorf("kind %.80q of API version %.80q: not an %s of %s%s", asked.Kind, asked.APIVersion, kind, group, versions)
	}
	r := Request{Version: version, Interactive: true} // kubectl 1.20 and 1.21 do not say
	if asked.Spec.Interactive != nil {
		r.Interactive = *asked.Spec.Interactive
	}
	if asked.Spec.Cluster != nil {
		r.Server = asked.Spec.Cluster.Server
	}
	return r, nil
}

// credential is the object of client.authentication.k8s.io.
type credential struct {
	Kind       string  `json:"kind"`
	APIVersion string  `json:"apiVersion"`
	Status     *status `json:"status,omitempty"`
}

type status struct {
	Expiration  string `json:"expirationTimestamp,omitempty"`
	Token       string `json:"token,omitempty"`
	Certificate string `json:"clientCertificateData,omitempty"`
	Key         string `json:"clientKeyData,omitempty"`
}

// Credential is what kubectl is to show.
type Credential struct {
	Token            string
	Certificate, Key string    // in PEM; empty: none
	Until            time.Time // when kubectl asks again by itself; zero: when the edge says so
}

// Answer is the ExecCredential.
func (r Request) Answer(c Credential) []byte {
	s := status{Token: Prefix + c.Token, Certificate: c.Certificate, Key: c.Key}
	if !c.Until.IsZero() {
		s.Expiration = c.Until.UTC().Format(time.RFC3339)
	}
	out, _ := json.Marshal(credential{kind, group + r.Version, &s}) // strings: cannot fail
	return append(out, '\n')
}
