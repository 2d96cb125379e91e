package guest

import (
	"context"
	"fmt"
	"time"
)

// PowerOff ends a guest, by its own poweroff if it heeds that, and takes its tap
// off the switch, as Nova does. Its port and its disk stay; Create starts it.
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
	if err := c.ask(ctx, g.Name); err != nil {
		return err
	}
	if err := c.Supervisor.Kill(ctx, ComponentName(g.Name)); err != nil {
		return err
	}
	return c.unplug(ctx, g.Node, g.TAP)
}

// ask returns when the guest has ended, or when it has had long enough for that.
func (c Config) ask(ctx context.Context, name string) error {
	p, running := c.Supervisor.Running(ComponentName(name))
	if !running {
		return nil
	}
	heed, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	// one that ends, or does not answer, has nothing to say
	_, _ = c.Exec(heed, name, []string{"poweroff"}, nil)
	_ = p.Gone(heed)
	return ctx.Err()
}
