//go:build linux

package world

import "context"

// StartRedis starts a server behind the route Redis.
func (w *World) StartRedis(ctx context.Context) error {
	_, err := w.once("redis", func() (*Process, error) {
		return w.EdgeHost.Launch(ctx, "redis", redisAddr, command("redis-server",
			"--bind", "127.0.0.1", "--port", "6379", "--save", "", "--appendonly", "no", "--dir", w.EdgeHost.dir))
	})
	return err
}
