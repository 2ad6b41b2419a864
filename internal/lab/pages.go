package lab

import (
	"net"
	"net/http"
	"strconv"
	"strings"
)

// user tells whose token it is (PROTOCOL.md 4.5).
func (e *edge) user(r *request) *answer {
	if _, a := e.authenticate(r); a != nil {
		return a
	}
	return jsonAnswer(http.StatusOK, map[string]any{"sub": "demo", "user": "demo", "name": "Demo User",
		"email": "demo@lab.example", "groups": []string{"demo", "lab"}})
}

// listRoutes is the portal's list (PROTOCOL.md 5.2): what the user may not reach is left out.
func (e *edge) listRoutes(r *request) *answer {
	st, a := e.authenticate(r)
	if a != nil {
		return a
	}
	list := []map[string]any{}
	for i, rt := range e.lab.Routes() {
		if st != good {
			break
		}
		host, _, _ := net.SplitHostPort(rt.Destination)
		from := rt.Kind + "+https://" + rt.Destination
		list = append(list, map[string]any{"id": strconv.Itoa(i + 1), "name": strings.TrimSuffix(host, ".lab"), "type": rt.Kind, "from": from,
			"description": rt.Description, "connect_command": "pomerium-cli " + rt.Kind + " " + rt.Destination, "logo_url": ""})
	}
	if st == good {
		list = append(list, map[string]any{"id": "web", "name": "web", "type": "http", "from": "https://web.lab", "description": "", "logo_url": ""})
	}
	return jsonAnswer(http.StatusOK, map[string]any{"routes": list})
}
