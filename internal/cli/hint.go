package cli

// hintFor picks the remedy for an error, or "".
func hintFor(err error) string {
	for _, h := range hints {
		if text := h(err); text != "" {
			return text
		}
	}
	return ""
}

var hints = []func(error) string{}
