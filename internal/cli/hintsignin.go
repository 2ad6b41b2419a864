package cli

import (
	"errors"

	"github.com/pomerium/pomerium-cli/internal/keyring"
	"github.com/pomerium/pomerium-cli/internal/login"
)

// hintAccount is about a service account, for which nobody can sign in.
func hintAccount(err error) string {
	e, ok := as[*login.Error](err)
	switch {
	case !ok || !e.Account:
		return ""
	case errors.Is(err, login.ErrRefused):
		return "have a new service account token made, and give it with --service-account-file or POMERIUM_SERVICE_ACCOUNT"
	}
	return "--service-account-file (POMERIUM_SERVICE_ACCOUNT_FILE) names a file that holds the token and nothing else; --service-account (POMERIUM_SERVICE_ACCOUNT) is the token itself"
}

// hintStore is about a keyring that cannot keep tokens.
func hintStore(err error) string {
	switch {
	case !is[*storeError](err):
		return ""
	case errors.Is(err, keyring.ErrLocked), errors.Is(err, keyring.ErrDismissed):
		return "unlock the keyring; or --token-store file, or memory for this run alone"
	}
	return "--token-store file keeps them in files that only you can read, --token-store memory for this run alone"
}

// hintSignedOut is about a command that needs a sign-in and starts none.
func hintSignedOut(err error) string {
	if e, ok := as[*unattendedError](err); ok {
		return "pomerium-cli login " + e.server + " signs in, with the flags of the kubeconfig"
	}
	if errors.Is(err, errSignedOut) {
		return "pomerium-cli login signs in"
	}
	return ""
}

// hintNobody is about a question that no person is there to answer.
func hintNobody(err error) string {
	if errors.Is(err, errNobody) {
		return "without a person there is no sign-in: give a token with --service-account-file"
	}
	return ""
}

// hintSignOut is about the sign-out page, which could not be shown.
func hintSignOut(err error) string {
	if is[*pageError](err) {
		return "open that page in the browser that you signed in with, or choose the browser with --browser-cmd"
	}
	return ""
}

// hintSignIn is about a sign-in that did not come to an end, or was not begun.
func hintSignIn(err error) string {
	if errors.Is(err, errNoToken) || errors.Is(err, errOldToken) {
		return "sign in: pomerium-cli tcp does at its first connection, pomerium-cli check --sign-in does now; or give a token with --service-account-file"
	}
	if is[*login.Error](err) || wantsSignIn(err) {
		return "try again and sign in with the printed URL, choose the browser with --browser-cmd, or give a token with --service-account-file"
	}
	return ""
}
