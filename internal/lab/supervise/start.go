package supervise

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
)

// path is the PATH of all components: Debian's directories. The user's own PATH may
// have other versions of the programs.
const path = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

// mark is the environment variable that identifies a component's processes. It finds
// a process even if the supervisor died before it wrote the pid file.
const mark = "ISTHMUS_LAB_COMPONENT"

// Environment returns the variables that every component gets before its own Env.
func Environment() []string {
	return []string{"PATH=" + path, "HOME=/root", "LANG=C.UTF-8", "TZ=UTC"}
}

// start runs c.Prepare, starts c in a session of its own and writes its pid file.
func (s *Supervisor) start(ctx context.Context, c Component) (Process, error) {
	if c.Prepare != nil {
		if err := c.Prepare(ctx); err != nil {
			return Process{}, fmt.Errorf("prepare: %w", err)
		}
	}
	log, err := s.openLog(c.Name)
	if err != nil {
		return Process{}, err
	}
	defer log.Close()
	program, err := lookPath(c.Argv[0])
	if err != nil {
		return Process{}, err
	}
	cmd := exec.Command(program, c.Argv[1:]...)
	cmd.Env = append(append(Environment(), c.Env...), s.mark(c.Name))
	cmd.Dir, cmd.Stdout, cmd.Stderr = "/", log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := cmd.Start(); err != nil {
		return Process{}, fmt.Errorf("start: %w", err)
	}
	p, err := Find(cmd.Process.Pid)
	// without Wait, the ended process would stay a zombie as long as we live
	go func() { _ = cmd.Wait() }()
	if err != nil {
		return Process{}, fmt.Errorf("ended at once: %w", err)
	}
	return p, record{p, c.spec()}.write(s.pidFile(c.Name))
}

// lookPath returns the path of a program on the components' PATH, not on ours.
func lookPath(program string) (string, error) {
	if strings.Contains(program, "/") {
		return program, nil
	}
	for _, dir := range filepath.SplitList(path) {
		if full := filepath.Join(dir, program); isProgram(full) {
			return full, nil
		}
	}
	return "", fmt.Errorf("%s is not installed: run scripts/packages.sh", program)
}

func isProgram(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.Mode().IsRegular() && info.Mode()&0o111 != 0
}

func (s *Supervisor) mark(name string) string { return mark + "=" + s.Dir + "|" + name }

// sessionLeaders returns the processes of component name that are session leaders, recorded
// or not. A killed run may have started one without a pid file. Other processes do not
// count: they may be meant to outlive the leader, as containerd's shims are.
func (s *Supervisor) sessionLeaders(name string) []Process {
	var leaders []Process
	for _, p := range s.marked(name) {
		if st, err := readStat(p.Pid); err == nil && st.session == p.Pid {
			leaders = append(leaders, p)
		}
	}
	return leaders
}

// marked returns all processes that descend from component name, or from any
// component if name is empty.
func (s *Supervisor) marked(name string) []Process {
	want := []byte("\x00" + s.mark(name))
	if name != "" {
		want = append(want, 0)
	}
	return Select(func(pid int) bool {
		env, err := os.ReadFile(fmt.Sprintf("/proc/%d/environ", pid))
		return err == nil && pid != os.Getpid() && bytes.Contains(append([]byte{0}, env...), want)
	})
}

func (s *Supervisor) openLog(name string) (*os.File, error) {
	file := s.Log(name)
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		return nil, err
	}
	return os.OpenFile(file, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
}

func (s *Supervisor) logSize(name string) int64 {
	info, err := os.Stat(s.Log(name))
	if err != nil {
		return 0
	}
	return info.Size()
}

// withLog adds to err the last 20 lines that name logged since offset, a file position
// in bytes.
func (s *Supervisor) withLog(name string, offset int64, err error) error {
	text, readErr := os.ReadFile(s.Log(name))
	if readErr != nil || int64(len(text)) <= offset {
		return err
	}
	lines := strings.Split(strings.TrimSpace(string(text[offset:])), "\n")
	lines = lines[max(0, len(lines)-20):]
	return fmt.Errorf("%w; the end of %s:\n    %s", err, s.Log(name), strings.Join(lines, "\n    "))
}
