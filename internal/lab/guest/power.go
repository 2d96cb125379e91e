package guest

import (
	"context"
	"fmt"
	"time"
)

// PowerOff shuts a guest down and removes its tap from the switch, as Nova does. It kills
// a guest that does not shut down within 30 s. The port and the disk remain, and Create
// starts the guest again.
func (c Config) PowerOff(ctx context.Context, name string) error {
	g, err := c.read(name)
	if err == nil {
		err = c.powerOff(ctx, g)
	}
	if err != nil {
		return fmt.Errorf("power off guest %s: %w", name, err)
	}
	return nil
}

func (c Config) powerOff(ctx context.Context, g Guest) error {
	if err := c.shutDown(ctx, g.Name); err != nil {
		return err
	}
	if err := c.Supervisor.Kill(ctx, ComponentName(g.Name)); err != nil {
		return err
	}
	return c.unplug(ctx, g.Node, g.TAP)
}

// shutDown runs poweroff in the guest and waits until the guest has ended, at most 30 s. It
// returns an error only if ctx ends.
func (c Config) shutDown(ctx context.Context, name string) error {
	p, running := c.Supervisor.Running(ComponentName(name))
	if !running {
		return nil
	}
	heed, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	// an error does not matter: the guest may end before it answers
	_, _ = c.Exec(heed, name, []string{"poweroff"}, nil)
	_ = p.Wait(heed)
	return ctx.Err()
}
