package proxy

import (
	"errors"
	"slices"
	"strings"
)

// explain says why a 407 cannot be answered.
func (l *login) explain(reasons []error) error {
	var ours []string
	for _, auth := range l.id.auth {
		if !slices.Contains(ours, auth.Scheme()) {
			ours = append(ours, auth.Scheme())
		}
	}
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
