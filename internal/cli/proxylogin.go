package cli

import (
	"errors"
	"io"
	"io/fs"
	"net/url"
	"os"
	"runtime"
	"strings"
	"unicode"
)

// maxLogin bounds a file with a user name and a password, in bytes.
const maxLogin = 4 << 10

// The variables with a user and password for a proxy.
const (
	envUser     = envForwardProxy + "_USER"
	envPassword = envForwardProxy + "_PASSWORD"
	envLogin    = envUser + " and " + envPassword
)

var (
	errOthersRead = errors.New("other users of this machine can read it: chmod 600 it")
	errNoLogin    = errors.New("not one line of the form user:password")
)

// proxyLogin finds the user and password for a proxy whose URL has none: nil
// without any, and the user alone where only that is set. The variables win over
// the file. source names the setting. No error repeats what it read.
func proxyLogin(file string, getenv func(string) string) (login *url.Userinfo, source string, err error) {
	user, password := getenv(envUser), getenv(envPassword)
	switch {
	case user == "" && password != "":
		return nil, "", usagef("%s is set and %s is not", envPassword, envUser)
	case strings.ContainsFunc(user, unicode.IsControl):
		return nil, "", usagef("%s has a control character or line break", envUser)
	case strings.ContainsFunc(password, unicode.IsControl):
		return nil, "", usagef("%s has a control character or line break", envPassword)
	case user != "" && password == "":
		return url.User(user), envUser, nil
	case user != "":
		return url.UserPassword(user, password), envLogin, nil
	case file == "":
		return nil, "", nil
	}
	source = "--forward-proxy-credentials-file " + file
	if login, err = readLogin(file); err != nil {
		return nil, "", usagef("%s: %w", source, cause(err))
	}
	return login, source, nil
}

// readLogin reads a file that only its owner can read.
func readLogin(path string) (*url.Userinfo, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	switch {
	case err != nil:
		return nil, err
	case info.Mode().IsRegular() && othersRead(info):
		return nil, errOthersRead
	}
	data, err := io.ReadAll(io.LimitReader(f, maxLogin+1))
	if err != nil {
		return nil, err
	}
	return parseLogin(data)
}

// othersRead says whether other users can read a file. On Windows the mode does
// not say.
func othersRead(info fs.FileInfo) bool {
	return info.Mode().Perm()&0o077 != 0 && runtime.GOOS != "windows"
}

// parseLogin understands user:password. The password is all behind the first
// colon, as it is: nothing is percent-encoded here.
func parseLogin(data []byte) (*url.Userinfo, error) {
	line := strings.TrimSuffix(strings.TrimSuffix(string(data), "\n"), "\r")
	user, password, ok := strings.Cut(line, ":")
	if !ok || user == "" || len(data) > maxLogin || strings.ContainsFunc(line, unicode.IsControl) {
		return nil, errNoLogin
	}
	return url.UserPassword(user, password), nil
}
