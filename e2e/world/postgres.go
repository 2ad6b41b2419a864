//go:build linux

package world

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"syscall"
)

// StartPostgres starts a database of its own behind the route Postgres. Anybody may log in as "postgres" without a password.
func (w *World) StartPostgres(ctx context.Context) error {
	_, err := w.once("postgres", func() (*Process, error) { return w.postgres(ctx) })
	return err
}

func (w *World) postgres(ctx context.Context) (*Process, error) {
	as, err := credentialOf("postgres") // the server refuses to run as root
	if err != nil {
		return nil, err
	}
	data := filepath.Join(w.EdgeHost.dir, "postgres")
	if err := os.Mkdir(data, 0o700); err != nil {
		return nil, err
	}
	if err := os.Chown(data, int(as.Uid), int(as.Gid)); err != nil {
		return nil, err
	}
	run := func(cmd *exec.Cmd) *exec.Cmd {
		cmd.Dir = data
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: as}
		return cmd
	}
	initdb := run(command("initdb", "--auth=trust", "--username=postgres", "--no-sync", "--no-locale", "--encoding=UTF8", data))
	if out, err := initdb.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("making a database: %w\n%s", err, out)
	}
	return w.EdgeHost.Launch(ctx, "postgres", postgresAddr, run(command("postgres", "-D", data,
		"-c", "listen_addresses=127.0.0.1", "-c", "unix_socket_directories=", "-c", "fsync=off")))
}

func credentialOf(name string) (*syscall.Credential, error) {
	u, err := user.Lookup(name)
	if err != nil {
		return nil, err
	}
	uid, err := strconv.ParseUint(u.Uid, 10, 32)
	if err != nil {
		return nil, err
	}
	gid, err := strconv.ParseUint(u.Gid, 10, 32)
	return &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}, err
}
