package world

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"strings"
	"sync"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	authv3 "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"
	typev3 "github.com/envoyproxy/go-control-plane/envoy/type/v3"
	rpc "google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
)

// The tokens that the edge has an opinion on. Any other is as good as a stale one.
const (
	GoodToken   = "e2e.good.token"
	StaleToken  = "e2e.stale.token"
	DeniedToken = "e2e.denied.token"
)

// Authz decides for Envoy what Pomerium's authorize service decides for its own: who may open a tunnel, and what the
// others are told.
type Authz struct {
	authv3.UnimplementedAuthorizationServer
	server *grpc.Server

	mu    sync.Mutex
	seen  []string // the tokens of all requests, in order
	valid map[string]bool
}

// StartAuthz serves on ln until Close.
func StartAuthz(ln net.Listener) *Authz {
	a := &Authz{server: grpc.NewServer(), valid: map[string]bool{GoodToken: true}}
	authv3.RegisterAuthorizationServer(a.server, a)
	go a.server.Serve(ln) // ended by Close
	return a
}

// Close stops serving.
func (a *Authz) Close() { a.server.Stop() }

// Issue makes a token valid, as a sign-in does.
func (a *Authz) Issue(token string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.valid[token] = true
}

// Revoke ends a token's session.
func (a *Authz) Revoke(token string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	delete(a.valid, token)
}

// Seen returns the tokens of the requests so far; a request without one counts as "".
func (a *Authz) Seen() []string {
	a.mu.Lock()
	defer a.mu.Unlock()
	return append([]string(nil), a.seen...)
}

// Valid says whether a session goes with the token.
func (a *Authz) Valid(token string) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.valid[token] || token == DeniedToken
}

// Check answers Envoy.
func (a *Authz) Check(_ context.Context, r *authv3.CheckRequest) (*authv3.CheckResponse, error) {
	header := r.GetAttributes().GetRequest().GetHttp().GetHeaders()
	token := credential(header["x-pomerium-authorization"], header["authorization"])
	a.mu.Lock()
	a.seen = append(a.seen, token)
	a.mu.Unlock()
	asJSON := header["accept"] == "application/json" || header["accept"] == "text/plain"
	switch {
	case !a.Valid(token) && token == "" && !asJSON:
		return deny(302, "Login", header, asJSON, "location", "https://authenticate.test/.pomerium/sign_in"), nil
	case !a.Valid(token):
		return deny(401, "Unauthenticated", header, asJSON), nil
	case token == DeniedToken:
		return deny(403, "Forbidden", header, asJSON), nil
	case strings.HasPrefix(r.GetAttributes().GetRequest().GetHttp().GetHost(), KubernetesName+":"):
		return &authv3.CheckResponse{Status: &rpc.Status{Code: int32(codes.OK)}, HttpResponse: &authv3.CheckResponse_OkResponse{
			OkResponse: &authv3.OkHttpResponse{Headers: headerFields("authorization", "Bearer "+kubernetesToken)}}}, nil
	}
	return &authv3.CheckResponse{Status: &rpc.Status{Code: int32(codes.OK)}}, nil
}

// credential picks the token out of the header fields that may carry one, in the edge's order.
func credential(own, authorization string) string {
	if own != "" {
		return own
	}
	for _, prefix := range []string{"Pomerium ", "Bearer Pomerium-"} {
		if token, ok := strings.CutPrefix(authorization, prefix); ok {
			return token
		}
	}
	return ""
}

func deny(status int32, reason string, header map[string]string, asJSON bool, fields ...string) *authv3.CheckResponse {
	id := header["x-request-id"]
	var body string
	switch {
	case strings.Contains(header["user-agent"], "kubernetes/"):
		body, fields = kubernetesStatus(int(status), reason, reason), append(fields, "content-type", "application/json")
	case asJSON:
		doc, _ := json.Marshal(map[string]string{"error": reason, "request_id": id}) // strings cannot fail
		body, fields = string(doc), append(fields, "content-type", "application/json")
	default:
		body = fmt.Sprintf("<!DOCTYPE html>\n<html><head><title>%s</title></head><body><h1>%d %s</h1><p>Request ID: %s</p></body></html>\n",
			reason, status, reason, id)
		fields = append(fields, "content-type", "text/html; charset=UTF-8", "x-pomerium-intercepted-response", "true")
	}
	denied := &authv3.DeniedHttpResponse{
		Status: &typev3.HttpStatus{Code: typev3.StatusCode(status)}, Headers: headerFields(fields...), Body: body,
	}
	return &authv3.CheckResponse{
		Status:       &rpc.Status{Code: int32(codes.PermissionDenied)},
		HttpResponse: &authv3.CheckResponse_DeniedResponse{DeniedResponse: denied},
	}
}

// headerFields are names, each with its value.
func headerFields(fields ...string) (options []*corev3.HeaderValueOption) {
	for i := 0; i < len(fields); i += 2 {
		options = append(options, &corev3.HeaderValueOption{Header: &corev3.HeaderValue{Key: fields[i], Value: fields[i+1]}})
	}
	return options
}
