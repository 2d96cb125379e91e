package supervise

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Process identifies a process. The kernel reuses a pid, but not a pid with the same
// start time.
type Process struct {
	Pid   int
	Start uint64 // field 22 of /proc/PID/stat
}

// stat has the used fields of /proc/PID/stat.
type stat struct {
	state   byte
	group   int
	session int
	start   uint64
}

// readStat reads /proc/PID/stat. It errs if there is no such process.
func readStat(pid int) (stat, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return stat{}, err
	}
	// the second field, the program's name, may contain spaces and parentheses
	fields := strings.Fields(string(text[bytes.LastIndexByte(text, ')')+1:]))
	if len(fields) < 20 {
		return stat{}, fmt.Errorf("/proc/%d/stat: %d fields", pid, len(fields))
	}
	group, _ := strconv.Atoi(fields[2])
	session, _ := strconv.Atoi(fields[3])
	start, err := strconv.ParseUint(fields[19], 10, 64)
	return stat{fields[0][0], group, session, start}, err
}

// Find returns the process that has pid now. It errs if there is none.
func Find(pid int) (Process, error) {
	s, err := readStat(pid)
	return Process{pid, s.start}, err
}

// Alive reports whether p runs. A zombie does not run.
func (p Process) Alive() bool {
	s, err := readStat(p.Pid)
	return err == nil && s.start == p.Start && s.state != 'Z' && s.state != 'X'
}

// Group returns the living members of the process group whose leader is or was p.
func (p Process) Group() []Process {
	if s, err := readStat(p.Pid); err == nil && s.start != p.Start {
		return nil // the pid has a new owner, so the group is empty: the kernel does not reuse the id of a group that has members
	}
	return Select(func(pid int) bool {
		s, err := readStat(pid)
		return err == nil && s.group == p.Pid
	})
}

// Select returns the living processes for which want is true. It may call want with
// the pid of a process that has ended.
func Select(want func(pid int) bool) []Process {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil
	}
	var found []Process
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		p, err := Find(pid)
		if err == nil && want(pid) && p.Alive() {
			found = append(found, p)
		}
	}
	return found
}

// Signal sends sig to p and never to a later process with the same pid. It returns nil
// if p has ended.
func (p Process) Signal(sig syscall.Signal) error {
	return p.with(func(process *os.Process) error {
		if err := process.Signal(sig); !errors.Is(err, os.ErrProcessDone) {
			return err
		}
		return nil
	})
}

// Wait waits until p has ended and returns nil. It returns ctx's error if ctx ends
// first.
func (p Process) Wait(ctx context.Context) error {
	return p.with(func(process *os.Process) (err error) {
		if handleErr := process.WithHandle(func(fd uintptr) { err = ended(ctx, fd) }); handleErr != nil {
			return fmt.Errorf("watch process %d: %w", p.Pid, handleErr)
		}
		return err
	})
}

// ended waits until the process of a pidfd has ended. It returns ctx's error if ctx
// ends first.
func ended(ctx context.Context, pidfd uintptr) error {
	fd, err := unix.FcntlInt(pidfd, unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return err
	}
	// only a file with a non-blocking descriptor can have a deadline
	if err := unix.SetNonblock(fd, true); err != nil {
		return errors.Join(err, unix.Close(fd))
	}
	file := os.NewFile(uintptr(fd), "pidfd")
	defer file.Close()
	stop := context.AfterFunc(ctx, func() { _ = file.SetReadDeadline(time.Unix(1, 0)) })
	defer stop()
	conn, err := file.SyscallConn()
	if err != nil {
		return err
	}
	err = conn.Read(func(fd uintptr) bool { return readable(int(fd)) })
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return err
}

// readable reports whether a pidfd is readable, which means that its process has ended.
func readable(fd int) bool {
	n, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, 0)
	return err == nil && n > 0
}

// with calls do with a pidfd handle of p and returns its error. It does nothing if p
// has ended.
func (p Process) with(do func(*os.Process) error) error {
	process, err := os.FindProcess(p.Pid)
	if err != nil {
		return fmt.Errorf("process %d: %w", p.Pid, err)
	}
	defer func() { _ = process.Release() }()
	// check only now: while we hold the pidfd, the handle cannot come to mean a new process
	if !p.Alive() {
		return nil
	}
	return do(process)
}

// End sends SIGTERM to ps and, after grace, SIGKILL. It returns when all have ended.
// With grace 0 it sends SIGKILL at once. It errs if a process remains.
func End(ctx context.Context, grace time.Duration, ps ...Process) error {
	if grace > 0 {
		polite, cancel := context.WithTimeout(ctx, grace)
		defer cancel()
		if err := signalAll(polite, syscall.SIGTERM, ps); err == nil {
			return nil
		}
	}
	// a process that survives SIGKILL hangs in the kernel; a longer wait would not help
	last, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	return signalAll(last, syscall.SIGKILL, ps)
}

func signalAll(ctx context.Context, sig syscall.Signal, ps []Process) error {
	var errs []error
	for _, p := range ps {
		errs = append(errs, p.Signal(sig))
	}
	for _, p := range ps {
		if err := p.Wait(ctx); err != nil {
			errs = append(errs, fmt.Errorf("process %d after %s: %w", p.Pid, unix.SignalName(sig), err))
		}
	}
	return errors.Join(errs...)
}

// record is the content of a pid file: the process, and the spec of the component from
// which it was started.
type record struct {
	Process
	spec string
}

func readRecord(path string) (record, bool) {
	text, err := os.ReadFile(path)
	if err != nil {
		return record{}, false
	}
	var r record
	n, _ := fmt.Sscan(string(text), &r.Pid, &r.Start, &r.spec)
	return r, n >= 2 && r.Pid > 1
}

func (r record) write(path string) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	tmp := path + ".new"
	if err := os.WriteFile(tmp, fmt.Appendf(nil, "%d %d %s\n", r.Pid, r.Start, r.spec), 0o644); err != nil {
		return err
	}
	return os.Rename(tmp, path)
}
