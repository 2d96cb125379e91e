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

// monitor is a guest's QEMU, which is told what to do. It has one client at a time.
type monitor struct {
	conn net.Conn
	in   *json.Decoder
	// events are those that came while an answer was awaited.
	events []message
}

// message is whatever QEMU says: an answer, a refusal or an event.
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
	_, err = m.read(ctx) // its greeting
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
	stop := context.AfterFunc(ctx, func() { _ = m.conn.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	var got message
	if err := m.in.Decode(&got); err != nil {
		return got, errors.Join(ctx.Err(), err)
	}
	return got, nil
}

// do returns QEMU's answer.
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

// migrate sends the guest to a QEMU that waits for it. When it returns nil, the guest
// runs there and is stopped here; otherwise it runs on here.
func (m *monitor) migrate(ctx context.Context, to netip.AddrPort) error {
	type fields = map[string]any
	for _, step := range []struct {
		command   string
		arguments fields
	}{
		{"migrate-set-capabilities", fields{"capabilities": []fields{{"capability": "events", "state": true}}}},
		{"migrate-set-parameters", fields{"max-bandwidth": 1 << 30}}, // the network is the limit
		{"migrate", fields{"uri": "tcp:" + to.String()}},
	} {
		if _, err := m.do(ctx, step.command, step.arguments); err != nil {
			return err
		}
	}
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

// failed is why a migration came to nothing.
func (m *monitor) failed(ctx context.Context) error {
	text, err := m.do(ctx, "query-migrate", struct{}{})
	var said struct {
		Why string `json:"error-desc"`
	}
	if err == nil {
		err = json.Unmarshal(text, &said)
	}
	return errors.Join(fmt.Errorf("migration failed: %s", said.Why), err)
}
