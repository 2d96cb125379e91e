package guest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"time"
)

// monitor is a connection to the QMP monitor of a guest's QEMU. QEMU accepts one client at
// a time.
type monitor struct {
	conn net.Conn
	in   *json.Decoder
	// events are the events that arrived before the answer to a command.
	events []message
}

// message is any message of QEMU: an answer, an error or an event.
type message struct {
	Return json.RawMessage `json:"return"`
	Error  *struct {
		Desc string `json:"desc"`
	} `json:"error"`
	Event string `json:"event"`
	Data  struct {
		Status string `json:"status"`
	} `json:"data"`
}

func dialMonitor(ctx context.Context, path string) (*monitor, error) {
	var d net.Dialer
	conn, err := d.DialContext(ctx, "unix", path)
	if err != nil {
		return nil, err
	}
	m := &monitor{conn: conn, in: json.NewDecoder(conn)}
	_, err = m.read(ctx) // QEMU's greeting
	if err == nil {
		_, err = m.do(ctx, "qmp_capabilities", struct{}{})
	}
	if err != nil {
		m.close()
		return nil, fmt.Errorf("QEMU does not answer: %w", err)
	}
	return m, nil
}

func (m *monitor) close() { _ = m.conn.Close() }

func (m *monitor) read(ctx context.Context) (message, error) {
	if err := m.conn.SetDeadline(time.Time{}); err != nil { // remove the deadline of an earlier ctx
		return message{}, err
	}
	stop := context.AfterFunc(ctx, func() { _ = m.conn.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	var got message
	if err := m.in.Decode(&got); err != nil {
		return got, errors.Join(ctx.Err(), err)
	}
	return got, nil
}

// do runs a command and returns QEMU's answer. It keeps events that arrive meanwhile.
func (m *monitor) do(ctx context.Context, command string, arguments any) (json.RawMessage, error) {
	text, err := json.Marshal(map[string]any{"execute": command, "arguments": arguments})
	if err == nil {
		_, err = m.conn.Write(text)
	}
	for err == nil {
		var got message
		switch got, err = m.read(ctx); {
		case err != nil:
		case got.Error != nil:
			err = errors.New(got.Error.Desc)
		case got.Event == "":
			return got.Return, nil
		default:
			m.events = append(m.events, got)
		}
	}
	return nil, fmt.Errorf("%s: %w", command, err)
}

func (m *monitor) event(ctx context.Context) (message, error) {
	if len(m.events) == 0 {
		return m.read(ctx)
	}
	first := m.events[0]
	m.events = m.events[1:]
	return first, nil
}

// migrate stops the guest and sends it to a QEMU that waits for it. The caller must
// continue the guest there. The guest is stopped because without hardware acceleration
// QEMU may miss what the guest writes while its memory is copied. If migrate errs, the
// guest continues here.
func (m *monitor) migrate(ctx context.Context, to netip.AddrPort) error {
	if _, err := m.do(ctx, "stop", struct{}{}); err != nil {
		return err
	}
	err := m.copy(ctx, to)
	if err != nil {
		err = errors.Join(err, m.resume(context.WithoutCancel(ctx)))
	}
	return err
}

// resume continues the guest after a failed migration.
func (m *monitor) resume(ctx context.Context) error {
	_, cancelled := m.do(ctx, "migrate_cancel", struct{}{})
	_, runs := m.do(ctx, "cont", struct{}{})
	return errors.Join(cancelled, runs)
}

func (m *monitor) copy(ctx context.Context, to netip.AddrPort) error {
	if err := m.enableEvents(ctx); err != nil {
		return err
	}
	for _, step := range []struct {
		command   string
		arguments map[string]any
	}{
		{"migrate-set-parameters", map[string]any{"max-bandwidth": 1 << 30}}, // bytes per second; the network limits it
		{"migrate", map[string]any{"uri": "tcp:" + to.String()}},
	} {
		if _, err := m.do(ctx, step.command, step.arguments); err != nil {
			return err
		}
	}
	return m.completed(ctx)
}

// enableEvents enables the events of a migration, on either side.
func (m *monitor) enableEvents(ctx context.Context) error {
	type fields = map[string]any
	_, err := m.do(ctx, "migrate-set-capabilities", fields{"capabilities": []fields{{"capability": "events", "state": true}}})
	return err
}

// completed returns when this side has completed the migration. It errs if the migration
// failed.
func (m *monitor) completed(ctx context.Context) error {
	for {
		e, err := m.event(ctx)
		switch {
		case err != nil:
			return fmt.Errorf("migration: %w", err)
		case e.Event != "MIGRATION":
		case e.Data.Status == "completed":
			return nil
		case e.Data.Status == "failed" || e.Data.Status == "cancelled":
			return m.failed(ctx)
		}
	}
}

// continueGuest waits until the migration has completed and continues the guest here. QEMU
// would forget an earlier command to continue.
func (m *monitor) continueGuest(ctx context.Context) error {
	if err := m.completed(ctx); err != nil {
		return err
	}
	_, err := m.do(ctx, "cont", struct{}{})
	return err
}

// failed returns an error with QEMU's reason for the failure of a migration.
func (m *monitor) failed(ctx context.Context) error {
	text, err := m.do(ctx, "query-migrate", struct{}{})
	var result struct {
		Why string `json:"error-desc"`
	}
	if err == nil {
		err = json.Unmarshal(text, &result)
	}
	return errors.Join(fmt.Errorf("migration failed: %s", result.Why), err)
}
