//go:build linux

package world

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"

	"golang.org/x/net/websocket"
)

// The cluster's API server, as kubectl knows it.
const (
	KubernetesName = "k8s.test"
	KubernetesURL  = "https://k8s.test:8443"
	KubernetesMTLS = "https://k8s.test:8446" // the edge wants to see a client certificate there
	Pod            = "web-0"                 // the one that is there

	kubernetesToken = "the-cluster's-own"
)

const namespace = "/api/v1/namespaces/default/"

// What the API server answers.
var kubernetesAnswers = map[string]string{
	"/version": `{"major":"1","minor":"37","gitVersion":"v1.37.2"}`,
	"/api":     `{"kind":"APIVersions","versions":["v1"]}`,
	"/apis":    `{"kind":"APIGroupList","apiVersion":"v1","groups":[]}`,
	"/api/v1": `{"kind":"APIResourceList","groupVersion":"v1","resources":[
		{"name":"pods","singularName":"pod","namespaced":true,"kind":"Pod","verbs":["get","list"]}]}`,
	namespace + "pods":        `{"kind":"PodList","apiVersion":"v1","metadata":{},"items":[` + podObject + `]}`,
	namespace + "pods/" + Pod: podObject,
}

const podObject = `{"kind":"Pod","apiVersion":"v1","metadata":{"name":"` + Pod + `","namespace":"default"},
	"spec":{"containers":[{"name":"web","image":"web"}]},"status":{"phase":"Running"}}`

// Kubernetes is a stand-in for an API server behind the edge, which asks it with a token of the cluster's own, as Pomerium does.
type Kubernetes struct {
	http *http.Server

	mu     sync.Mutex
	asked  []string
	tokens []string // others than its own
}

// StartKubernetes serves on ln, with TLS, until Close.
func StartKubernetes(ln net.Listener, a Authority) *Kubernetes {
	k := &Kubernetes{}
	mux := http.NewServeMux()
	mux.HandleFunc("/", k.answer)
	mux.Handle(namespace+"pods/"+Pod+"/exec", websocket.Server{Handshake: remoteCommand, Handler: echoCommand})
	k.http = &http.Server{Handler: k.counted(mux)}
	go k.http.ServeTLS(ln, a.Cert, a.Key) // ended by Close
	return k
}

// Close stops serving.
func (k *Kubernetes) Close() { k.http.Close() }

// Asked returns the paths of the requests so far.
func (k *Kubernetes) Asked() []string {
	k.mu.Lock()
	defer k.mu.Unlock()
	return slices.Clone(k.asked)
}

// Strange returns what requests had for a token other than the cluster's own.
func (k *Kubernetes) Strange() []string {
	k.mu.Lock()
	defer k.mu.Unlock()
	return slices.Clone(k.tokens)
}

func (k *Kubernetes) counted(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		token := r.Header.Get("Authorization")
		k.mu.Lock()
		k.asked = append(k.asked, r.URL.Path)
		if token != "Bearer "+kubernetesToken {
			k.tokens = append(k.tokens, token)
		}
		k.mu.Unlock()
		next.ServeHTTP(w, r)
	})
}

func (k *Kubernetes) answer(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	answer, ok := kubernetesAnswers[r.URL.Path]
	if !ok {
		w.WriteHeader(http.StatusNotFound)
		answer = kubernetesStatus(http.StatusNotFound, "NotFound", "no such path")
	}
	io.WriteString(w, answer)
}

// kubernetesStatus is how an API server, and the edge to kubectl, says no.
func kubernetesStatus(code int, reason, message string) string {
	return fmt.Sprintf(`{"kind":"Status","apiVersion":"v1","status":"Failure","message":%q,"reason":%q,"code":%d}`, message, reason, code)
}

// remoteCommand takes the protocol of kubectl exec over WebSocket.
func remoteCommand(c *websocket.Config, _ *http.Request) error {
	const protocol = "v5.channel.k8s.io"
	if !slices.Contains(c.Protocol, protocol) {
		return websocket.ErrBadWebSocketProtocol
	}
	c.Protocol = []string{protocol}
	return nil
}

// echoCommand writes the words of the command to channel 1, standard output, and success to channel 3.
func echoCommand(ws *websocket.Conn) {
	defer ws.Close() // with a close frame
	ws.PayloadType = websocket.BinaryFrame
	fmt.Fprintf(ws, "\x01%s\n", strings.Join(ws.Request().URL.Query()["command"], " "))
	io.WriteString(ws, "\x03"+`{"metadata":{},"status":"Success"}`)
}
