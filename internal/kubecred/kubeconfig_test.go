package kubecred_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/pomerium/pomerium-cli/internal/kubecred"
)

// As kubectl writes it, with what a person put between.
const kubeconfig = `# mine
apiVersion: v1
clusters:
- cluster: # the old one
    server: https://old.test
  name: old
  # between
- name: 'a b'
  cluster:
    server: https://b.test

# the contexts
contexts: []
current-context: old # now
kind: Config
users:
  - name: old
    user:
      token: x`

func TestKubeconfig(t *testing.T) {
	k, err := kubecred.ParseKubeconfig(kubeconfig)
	must(t, err)
	if k.String() != kubeconfig || k.Current() != "old" || !k.Has(kubecred.Clusters, "a b") || k.Has(kubecred.Clusters, "new") || !k.Has(kubecred.Users, "old") {
		t.Fatalf("read as %s", k)
	}
	must(t, k.Set(kubecred.Clusters, "old", "- name: \"old\"\n  cluster:\n    server: \"https://new.test\"\n"))
	must(t, k.Set(kubecred.Contexts, "new", "- name: \"new\"\n"))
	must(t, k.Set(kubecred.Users, "new", "- name: \"new\"\n  user:\n"))
	must(t, k.SetCurrent("new"))
	want := strings.NewReplacer(
		"- cluster: # the old one\n    server: https://old.test\n  name: old\n", "- name: \"old\"\n  cluster:\n    server: \"https://new.test\"\n",
		"contexts: []\n", "contexts:\n- name: \"new\"\n",
		"current-context: old # now", "current-context: \"new\"",
		"      token: x", "      token: x\n  - name: \"new\"\n    user:\n",
	).Replace(kubeconfig)
	if k.String() != want {
		t.Error(cmp.Diff(want, k.String()))
	}
}

func TestKubeconfigFromNothing(t *testing.T) {
	c := kubecred.Cluster{Name: "k", Server: "https://k.test", Proxy: "http://p.test:3128", Version: "v1", Command: "/bin/pomerium-cli", Args: []string{"k8s", "a: b"}}
	k, err := kubecred.ParseKubeconfig("")
	must(t, err)
	for _, s := range []kubecred.Section{kubecred.Clusters, kubecred.Users, kubecred.Contexts} {
		must(t, k.Set(s, c.Name, c.Entry(s)))
	}
	must(t, k.SetCurrent("k"))
	want := `clusters:
- name: "k"
  cluster:
    server: "https://k.test"
    proxy-url: "http://p.test:3128"
users:
- name: "k"
  user:
    exec:
      apiVersion: "client.authentication.k8s.io/v1"
      command: "/bin/pomerium-cli"
      args:
      - "k8s"
      - "a: b"
      interactiveMode: IfAvailable
contexts:
- name: "k"
  context:
    cluster: "k"
    user: "k"
current-context: "k"
`
	if k.String() != want {
		t.Error(cmp.Diff(want, k.String()))
	}
}

// A context that joins cluster and user already keeps what a person added to it;
// one that joins others is replaced.
func TestKubeconfigContext(t *testing.T) {
	c := kubecred.Cluster{Name: "k"}
	for text, stays := range map[string]bool{
		"contexts:\n- context:\n    cluster: k\n    namespace: mine\n    user: \"k\" # me\n  name: k\n": true,
		"contexts:\n- name: k\n  context:\n    user: k\n    cluster: 'k'\n":                             true,
		"contexts:\n- context:\n    cluster: k\n    user: other\n  name: k\n":                           false,
		"contexts:\n- context:\n    cluster: other\n    user: k\n  name: k\n":                           false,
		"contexts:\n- context:\n    user: k\n  name: k\n- name: l\n  context:\n    cluster: k\n":        false,
	} {
		k, err := kubecred.ParseKubeconfig(text)
		must(t, err)
		must(t, k.Set(kubecred.Contexts, c.Name, c.Entry(kubecred.Contexts)))
		if (k.String() == text) != stays {
			t.Errorf("%s became\n%s", text, k)
		}
	}
}

// What is not understood is not changed.
func TestKubeconfigStyles(t *testing.T) {
	for _, text := range []string{
		`{"clusters":[]}`, "- a\n", " clusters:\n", "clusters: [{name: a}]\n", "clusters:\n- {name: a}\n", "clusters:\n-\n  name: a\n",
		"clusters:\n- &a\n  name: a\n", "clusters:\n- name: a\n  cluster: &x\n    server: y\n", "clusters:\n- name: a\n  cluster:\n    <<: *x\n", "\"clusters\": []\n", "clusters: []\nclusters: []\n",
		"a: b\n---\nc: d\n", "clusters:\n\t- name: a\n", "clusters:\n  a: b\n", "clusters: []\n- name: a\n",
	} {
		k, err := kubecred.ParseKubeconfig(text)
		if err == nil {
			err = k.Set(kubecred.Clusters, "a", "- name: \"a\"\n")
		}
		if !errors.Is(err, kubecred.ErrStyle) {
			t.Errorf("%q became %v, %v", text, k, err)
		}
	}
}

// FuzzKubeconfig: an entry that is set is there, set twice it is there once, and
// every line that is not part of an entry of that name is as it was.
func FuzzKubeconfig(f *testing.F) {
	for _, seed := range []string{kubeconfig, "", "clusters:\n", "clusters: ~\nusers:\n- name: x\n", "clusters:\n - a: |\n    name: n\n   name: q\n"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		k, err := kubecred.ParseKubeconfig(text)
		if err != nil {
			return
		}
		if k.String() != text {
			t.Fatalf("%q was read as %q", text, k)
		}
		had := k.Has(kubecred.Clusters, "n")
		const entry = "- name: \"n\"\n  cluster:\n    server: \"https://n.test\"\n"
		if k.Set(kubecred.Clusters, "n", entry) != nil {
			return
		}
		if !k.Has(kubecred.Clusters, "n") {
			t.Fatalf("%q became %q", text, k)
		}
		once := k.String()
		must(t, k.Set(kubecred.Clusters, "n", entry))
		if k.String() != once {
			t.Errorf("%q, then %q", once, k)
		}
		if again, err := kubecred.ParseKubeconfig(once); err != nil || again.String() != once {
			t.Errorf("%q cannot be read again: %v", once, err)
		}
		if had {
			return
		}
		rest := once
		for line := range strings.SplitSeq(text, "\n") {
			if strings.HasPrefix(line, "clusters:") {
				continue
			}
			_, after, ok := strings.Cut(rest, line)
			if !ok {
				t.Fatalf("%q lost %q: %q", text, line, once)
			}
			rest = after
		}
	})
}
