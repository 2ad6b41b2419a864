package cli_test

import (
	"encoding/base64"
	"encoding/json"
	"net"
	"net/url"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/pomerium/pomerium-cli/internal/token"
)

// canary stands for every password and token. It is in no other word.
const canary = "c4n4ry"

// secret is the canary as a password that has to be percent-encoded.
const secret = canary + "%40%3A%25"

// sings reports whether the canary is in s, as it is, percent-encoded, or in
// base64 behind any number of bytes.
func sings(s string) bool {
	for before := range 3 {
		text := base64.RawStdEncoding.EncodeToString([]byte(strings.Repeat("x", before) + canary))
		if strings.Contains(s, text[(before*8+5)/6:(before+len(canary))*8/6]) {
			return true
		}
	}
	return strings.Contains(strings.ToLower(s), canary)
}

// TestEdgeCase52_Canary puts a password or a token into every input, at level
// debug, in both formats, and looks for it in both streams.
func TestEdgeCase52_Canary(t *testing.T) {
	w := newWorld(t)
	withUser := func(raw, user string) string {
		u, err := url.Parse(raw)
		if err != nil {
			t.Fatal(err)
		}
		return u.Scheme + "://" + user + "@" + u.Host
	}
	port := portOf(t, w.ProxyURL("http"))
	tokenFile := w.file(t, "token", []byte(canary+".a.b\n"))
	twoTokens := w.file(t, "tokens", []byte(canary+".a.b "+canary+".c.d"))
	badKey := w.file(t, "key.pem", []byte("-----BEGIN PRIVATE KEY-----\n"+canary+"\n-----END PRIVATE KEY-----\n"))
	cert, _, err := w.ClientCert()
	if err != nil {
		t.Fatal(err)
	}
	certFile := w.file(t, "cert.pem", cert)

	type input struct {
		env     map[string]string
		args    []string
		keyring keyrings
	}
	inputs := map[string]input{
		"token":             {args: w.tcp("echo.lab:7", "--service-account", canary+".a.b")},
		"token of two":      {args: w.tcp("echo.lab:7", "--service-account", canary+" x")},
		"token with a line": {args: w.tcp("echo.lab:7", "--service-account", canary+"\nx")},
		"token file":        {args: w.tcp("echo.lab:7", "--service-account-file", tokenFile)},
		"bad token file":    {args: w.tcp("echo.lab:7", "--service-account-file", twoTokens)},
		"token variable":    {env: map[string]string{"POMERIUM_SERVICE_ACCOUNT": canary + ".a.b"}, args: w.tcp("echo.lab:7")},
		"both variables":    {env: map[string]string{"POMERIUM_SERVICE_ACCOUNT": canary, "POMERIUM_SERVICE_ACCOUNT_FILE": tokenFile}, args: w.tcp("echo.lab:7")},
		"bad key":           {args: w.tcp("echo.lab:7", "--client-cert", certFile, "--client-key", badKey)},
		"edge":              {args: w.tcp("echo.lab:7", "--pomerium-url", "https://user:"+secret+"@edge.lab")},
		"edge query":        {args: w.tcp("echo.lab:7", "--pomerium-url", "https://edge.lab/?token="+canary)},
		"edge broken":       {args: w.tcp("echo.lab:7", "--pomerium-url", "https://user:"+canary+"%zz@edge.lab")},
		"destination":       {args: w.tcp("tcp+https://user:" + secret + "@edge.lab/echo.lab:7")},
		"proxy variable": {env: map[string]string{"POMERIUM_FORWARD_PROXY_USER": "user", "POMERIUM_FORWARD_PROXY_PASSWORD": canary},
			args: w.tcp("echo.lab:7", "--forward-proxy", withUser(w.ProxyURL("http+password"), ""))},
		"proxy variable with a line": {env: map[string]string{"POMERIUM_FORWARD_PROXY_USER": "user", "POMERIUM_FORWARD_PROXY_PASSWORD": canary + "\n"},
			args: w.tcp("echo.lab:7")},
		"proxy file": {args: w.tcp("echo.lab:7", "--forward-proxy", withUser(w.ProxyURL("http+password"), ""),
			"--forward-proxy-credentials-file", w.file(t, "login", []byte("user:"+canary+"\n")))},
		"proxy file of two lines": {args: w.tcp("echo.lab:7", "--forward-proxy-credentials-file", w.file(t, "logins", []byte("user:"+canary+"\n"+canary)))},
		"proxy file without user": {args: w.tcp("echo.lab:7", "--forward-proxy-credentials-file", w.file(t, "nobody", []byte(":"+canary)))},
		"proxy file of one word":  {args: w.tcp("echo.lab:7", "--forward-proxy-credentials-file", w.file(t, "word", []byte(canary)))},
		"proxy variable alone":    {env: map[string]string{"POMERIUM_FORWARD_PROXY_PASSWORD": canary}, args: w.tcp("echo.lab:7")},
		"server":                  {args: w.ask("auth", "https://user:"+secret+"@edge.lab")},
		"server query":            {args: w.ask("login", "https://edge.lab/?token="+canary)},
		"server path":             {args: w.ask("whoami", "https://user:"+canary+"/x@edge.lab")},
		"server variable":         {env: map[string]string{"POMERIUM_URL": "https://user:" + secret + "@edge.lab"}, args: w.ask("whoami", "https://user:x@edge.lab")[2:]},
		"destination two":         {args: w.tcp("https://" + canary + "@edge.lab:443/echo.lab:7?x=" + canary)},
	}
	guarded := withUser(w.ProxyURL("http+password"), "")
	netrc := w.file(t, "netrc", []byte("machine 127.0.0.1 login user password "+canary+"\n"))
	for _, kind := range []string{"http", "http+password", "https+password"} {
		hop := strings.Replace(withUser(w.ProxyURL(kind), ""), "@", "", 1)
		inputs["netrc "+kind] = input{env: map[string]string{"NETRC": netrc}, args: w.tcp("echo.lab:7", "--forward-proxy", hop, "--forward-proxy-ca-path", filepath.Join(w.dir, "proxy-ca.pem"))}
		inputs["header "+kind] = input{args: w.tcp("echo.lab:7", "--forward-proxy", hop, "--forward-proxy-header", "X-Key: "+canary+"-key")}
		inputs["bad proxy key "+kind] = input{args: w.tcp("echo.lab:7", "--forward-proxy", hop, "--forward-proxy-client-cert", certFile, "--forward-proxy-client-key", badKey)}
	}
	for name, entry := range map[string]string{"refused": "user:" + canary, "broken": canary, "of two lines": "user:" + canary + "\n" + canary} {
		for _, hop := range []string{guarded, withUser(w.ProxyURL("socks5+password"), "")} {
			hop = strings.Replace(hop, "@", "", 1)
			inputs["keyring "+name+" "+hop[:5]] = input{keyring: newKeyring(map[string]string{hop: entry}), args: w.tcp("echo.lab:7", "--forward-proxy", hop)}
		}
	}
	proxies := map[string]string{
		"works":           withUser(w.ProxyURL("http"), "user:"+secret),
		"refused":         withUser(w.ProxyURL("http+password"), "user:"+secret),
		"refused tls":     withUser(w.ProxyURL("https+password"), "user:"+secret),
		"refused socks":   withUser(w.ProxyURL("socks5+password"), "user:"+secret),
		"wrong kind":      "socks5://user:" + secret + "@127.0.0.1:" + port,
		"wrong kind back": "http://user:" + secret + "@127.0.0.1:" + portOf(t, w.ProxyURL("socks5")),
		"dead":            "http://user:" + secret + "@127.0.0.1:1",
		"bare":            "user:" + secret + "@127.0.0.1:" + port,
		"user alone":      "http://" + canary + "@127.0.0.1:1",
		"too long":        "socks5://user:" + strings.Repeat(canary, 60) + "@127.0.0.1:1",
	}
	for i, raw := range []string{"http://user:%s@h:0", "http://user:%s@", "http://user:%s@h/p", "http://user:%s@h?q", "http://user:%s@h#f",
		"ftp://user:%s@h", "http://user:%s%%@h:1", "http://user:%s#@h:1", "http://user:%s/@h:1", "http://user:%s@@h:1", "http://us er:%s@h:1",
		"http://user:%s\r\n@h:1", "\"http://user:%s@h:1\"", "http:user:%s@h", "user:%s", "http://[user:%s@h", "http://user:%s@h:port"} {
		proxies["malformed "+string(rune('a'+i))] = strings.ReplaceAll(strings.ReplaceAll(raw, "%%", "%"), "%s", canary)
	}
	for name, raw := range proxies {
		inputs["flag "+name] = input{args: w.tcp("echo.lab:7", "--forward-proxy", raw)}
		bare := withoutFlag(w.tcp("echo.lab:7"), "--forward-proxy")
		inputs["before "+name] = input{args: w.tcp("echo.lab:7", "--pre-proxy", raw)}
		inputs["second "+name] = input{args: w.tcp("echo.lab:7", "--forward-proxy", raw, "--forward-proxy", "http://127.0.0.1:1")}
		inputs["after another "+name] = input{env: map[string]string{"POMERIUM_FORWARD_PROXY": "http://127.0.0.1:1 " + raw}, args: bare}
		for _, variable := range []string{"HTTPS_PROXY", "all_proxy", "POMERIUM_FORWARD_PROXY"} {
			inputs[variable+" "+name] = input{env: map[string]string{variable: raw}, args: bare}
		}
	}
	for _, raw := range []string{"pac+http://user:" + secret + "@127.0.0.1:1/x?" + canary, "pac+https://user:" + secret + "@127.0.0.1:" + port + "/x?" + canary,
		"pac+data:;base64,%" + canary,
		"pac+ftp://" + canary + "@x", "pac+file://" + canary + "@x/x", "pac+http://user:" + canary + "%zz@x", "pac+" + canary,
		"pac+data:,function%20FindProxyForURL()%7Breturn'PROXY%20u:" + canary + "@h:1'%7D"} {
		inputs["script "+raw] = input{args: w.tcp("echo.lab:7", "--forward-proxy", raw)}
	}
	w.singingToken(t)
	for name, in := range inputs {
		for _, format := range []string{"text", "json"} {
			t.Run(name+"/"+format, func(t *testing.T) {
				r := &run{env: in.env, keyring: in.keyring}
				args := in.args
				if !strings.Contains(name, "oken") { // else a wrong token would open a browser
					args = append(args, "--service-account", w.Token())
				}
				if args[0] == "tcp" {
					args = append(args, "--listen", "-")
				}
				r.main(t, append(args, "--connect-timeout", "300ms", "--log-level", "debug", "--log-format", format)...)
				if sings(r.stdout + r.stderr) {
					t.Errorf("exit code %d: %s%s", r.code, r.stdout, r.stderr)
				}
				args = append([]string{"check"}, args[1:]...)
				if format == "json" {
					args = append(args, "--json")
				}
				r.main(t, append(args, "--connect-timeout", "300ms", "--log-level", "debug", "--log-format", format)...)
				if sings(r.stdout + r.stderr) {
					t.Errorf("check: exit code %d: %s%s", r.code, r.stdout, r.stderr)
				}
			})
		}
	}
}

// singingToken puts a token with the canary where the program keeps tokens.
func (w *world) singingToken(t *testing.T) {
	t.Helper()
	store := token.File{Dir: filepath.Join(w.dir, "pomerium-cli", "jwts")}
	if err := store.Save(t.Context(), token.Key(w.EdgeURL()), canary+".a.b"); err != nil {
		t.Fatal(err)
	}
}

// TestEdgeCase52_SignIn: a kept token that the edge refuses, and the one that a
// sign-in brings, are in no line; the sign-in page's address is for the person.
func TestEdgeCase52_SignIn(t *testing.T) {
	w := newWorld(t)
	w.singingToken(t)
	l := signedIn(t, w, w.tcp("echo.lab:7", "--log-level", "debug", "--log-format", "json"))
	store := token.File{Dir: filepath.Join(w.dir, "pomerium-cli", "jwts")}
	got, err := store.Load(t.Context(), token.Key(w.EdgeURL()))
	if err != nil || got == "" || sings(got) {
		t.Fatalf("no new token was kept: %v", err)
	}
	if sings(l.stderr) || strings.Contains(l.stderr, got) {
		t.Errorf("a token is in: %s", l.stderr)
	}
}

// signedIn runs a listener, has its first connection sign in, and ends it.
func signedIn(t *testing.T, w *world, args []string) *listener {
	t.Helper()
	var browsing sync.WaitGroup // beside the reader of lines: the program may have more to say meanwhile
	l := watched(t, nil, func(line string) {
		var said struct{ Msg, URL string }
		if json.Unmarshal([]byte(line), &said) == nil && said.Msg == "sign in" {
			browsing.Go(func() {
				if err := w.Browse(t.Context(), said.URL); err != nil {
					t.Error(err)
				}
			})
		}
	}, args...)
	c, err := net.Dial("tcp", l.addr)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := c.Write([]byte("x")); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Read(make([]byte, 1)); err != nil {
		t.Error(err)
	}
	c.Close()
	browsing.Wait()
	l.end()
	return l
}

func portOf(t *testing.T, raw string) string {
	t.Helper()
	u, err := url.Parse(raw)
	if err != nil {
		t.Fatal(err)
	}
	return u.Port()
}

func withoutFlag(args []string, flag string) []string {
	for i, a := range args {
		if a == flag {
			return append(args[:i:i], args[i+2:]...)
		}
	}
	return args
}

// noSecret reports whether the canary is not the user's part, or not only: a
// host name is no secret.
func noSecret(before, after string) bool {
	return sings(before) || sings(after) || strings.HasSuffix(before, "@")
}

// FuzzEdgeCase52_Proxy puts a password into proxy settings of every shape. The
// run ends before anything is dialed: that address is not this machine's.
func FuzzEdgeCase52_Proxy(f *testing.F) {
	for _, seed := range [][2]string{{"http://user:", "@h:1"}, {"", ""}, {"http://", "@h"}, {"socks5://a:b", "@h:1/x"}, {"http://user:%", "@h"},
		{"\"http://user:", "@h:1\""}, {"http://[::1", "]:1"}, {"http:", ""}, {"//user:", "@h"}, {"http://user:#", "@h"}, {"http://h/?", "#x"}} {
		if noSecret(seed[0], seed[1]) {
			f.Fatalf("the seed %q proves nothing", seed)
		}
		f.Add(seed[0], seed[1])
	}
	f.Fuzz(func(t *testing.T, before, after string) {
		if noSecret(before, after) {
			t.Skip("made by the fuzzer; no seed comes here")
		}
		raw := before + canary + "@h:1" + after
		for _, format := range []string{"text", "json"} {
			flag, env := &run{}, &run{env: map[string]string{"HTTPS_PROXY": raw}}
			args := []string{"tcp", "db.example.com:5432", "--listen", "192.0.2.1:1", "--log-level", "debug", "--log-format", format}
			flag.main(t, append(args, "--forward-proxy", raw)...)
			env.main(t, args...)
			if sings(flag.stderr + flag.stdout + env.stderr + env.stdout) {
				t.Errorf("%q: %s%s", raw, flag.stderr, env.stderr)
			}
		}
	})
}
