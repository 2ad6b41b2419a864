package proxy

import (
	"errors"
	"net/url"
	"slices"
	"strings"
)

// explain says why a 407 cannot be answered.
func (l *login) explain(reasons []error) error {
	if out := l.leftOut(); out != nil {
		return out
	}
	ours := schemesOf(l.id.auth)
	offer := strings.Join(l.schemes, ", ")
	var text string
	switch {
	case len(l.schemes) == 0:
		return errors.New("the proxy asks for authentication but does not say how (407 without a challenge), so nothing is sent")
	case l.id.user == nil && slices.ContainsFunc(l.schemes, func(s string) bool { return wantsUser(s) && !slices.Contains(ours, s) }):
		text = "the proxy asks for authentication (" + offer + ") and there is no user and password for it"
	case len(reasons) > 0:
		text = "the proxy offers " + offer
	case len(ours) == 0:
		text = "the proxy offers " + offer + ", and there is nothing to answer with"
	default:
		text = "the proxy offers " + offer + ", and only " + strings.Join(ours, ", ") + " can be answered"
	}
	if l.want != nil && l.id.user == nil {
		return &wanted{&unanswered{text, reasons}, *l.want, true}
	}
	return &unanswered{text, reasons}
}

// leftOut is the error of a proxy whose schemes would all be spoken here, but
// may not be; else nil.
func (l *login) leftOut() error {
	could := schemesOf(l.hop.authFor(url.UserPassword("user", "password")))
	among := func(names []string) bool {
		return slices.ContainsFunc(l.schemes, func(s string) bool { return hasScheme(names, s) })
	}
	if among(could) || !among(AuthSchemes()) {
		return nil
	}
	return &LeftOut{Offered: l.schemes, Allowed: could}
}

// hasScheme says whether a scheme is among names; case does not matter.
func hasScheme(names []string, scheme string) bool {
	return slices.ContainsFunc(names, func(name string) bool { return strings.EqualFold(name, scheme) })
}

// schemesOf lists the schemes of authenticators, each once.
func schemesOf(all []Authenticator) []string {
	var names []string
	for _, auth := range all {
		if !slices.Contains(names, auth.Scheme()) {
			names = append(names, auth.Scheme())
		}
	}
	return names
}

// unanswered says why no scheme could be used, on one line.
type unanswered struct {
	text    string
	reasons []error
}

func (e *unanswered) Error() string {
	text := e.text
	for _, reason := range e.reasons {
		text += "; " + reason.Error()
	}
	return text
}

func (e *unanswered) Unwrap() []error { return e.reasons }

// wantsUser says whether a user and password would do for a scheme.
func wantsUser(scheme string) bool {
	name := strings.ToLower(scheme)
	return name != "negotiate" && slices.Contains(AuthSchemes(), name)
}
