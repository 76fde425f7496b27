package netlabtest

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"sync"
	"syscall"
	"testing"
)

// reexecuted tells a test binary that it runs in namespaces that [Main] made.
const reexecuted = "NETLABTEST_REEXECUTED"

// Main is for TestMain. It runs the tests and ends the process; where an
// ordinary user started them, it runs them once more as the root of a new user
// and network namespace, and there only. Where that is refused the tests run as
// they are, and those that [Require] a lab are skipped.
func Main(m *testing.M) {
	if os.Getenv(reexecuted) == "" && newNamespace() != nil {
		if code, err := reexecute(); err == nil {
			os.Exit(code)
		}
	}
	os.Exit(m.Run())
}

// newNamespace reports why this process cannot make a network namespace.
func newNamespace() error {
	spaces, err := newNamespaces(1)
	for _, ns := range spaces {
		ns.Close()
	}
	return err
}

// reexecute runs this program in new namespaces, and returns its exit code.
func reexecute() (int, error) {
	// The child must not outlive this process; the kernel watches the thread.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	cmd := exec.Command("/proc/self/exe", os.Args[1:]...)
	cmd.Args[0] = os.Args[0]
	cmd.Env = append(os.Environ(), reexecuted+"=1")
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags:  syscall.CLONE_NEWUSER | syscall.CLONE_NEWNET,
		UidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getgid(), Size: 1}},
		Pdeathsig:   syscall.SIGKILL,
	}
	err := cmd.Run()
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		if code := exit.ExitCode(); code >= 0 {
			return code, nil
		}
		fmt.Fprintln(os.Stderr, "netlabtest:", exit)
		return 1, nil
	}
	return 0, err
}

// available reports, once, why this process cannot have a lab.
var available = sync.OnceValue(func() error {
	for _, name := range []string{"ip", "nft"} {
		if _, err := find(name); err != nil {
			return err
		}
	}
	if err := newNamespace(); err != nil {
		return fmt.Errorf("network namespaces are refused: %w", err)
	}
	lab, err := New(Config{Ports: []Port{{Device: "probe"}}})
	if err != nil {
		return err
	}
	lab.Close()
	return nil
})

// Require skips a test, with the reason, under -short and where labs cannot be had. Where the
// environment says CI=true that is a failure.
func Require(t testing.TB) {
	t.Helper()
	if testing.Short() {
		t.Skip("kernel labs are not for -short")
	}
	if err := available(); err != nil {
		missing(t, err, os.Getenv("CI") == "true")
	}
}

func missing(t testing.TB, reason error, ci bool) {
	t.Helper()
	if ci {
		t.Fatalf("CI must have a kernel lab: %v", reason)
	}
	t.Skipf("needs a kernel lab: %v", reason)
}

// Start builds a lab that is closed when the test ends, or skips the test as
// [Require] does.
func Start(t testing.TB, c Config) *Lab {
	t.Helper()
	Require(t)
	lab, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(lab.Close)
	return lab
}
