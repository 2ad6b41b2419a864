// Command kubectl is the real one, in the version that go.mod names: nobody else builds it without its whole repository.
// It is a module of its own, so that the Kubernetes libraries neither choose versions for the end-to-end tests nor are
// compiled by who runs one of the others.
package main

import (
	"k8s.io/component-base/cli"
	"k8s.io/kubectl/pkg/cmd"
	"k8s.io/kubectl/pkg/cmd/util"
)

func main() {
	if err := cli.RunNoErrOutput(cmd.NewDefaultKubectlCommand()); err != nil {
		util.CheckErr(err)
	}
}
