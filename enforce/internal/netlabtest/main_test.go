//go:build linux

package netlabtest

import (
	"errors"
	"os"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
)

// verdict is a test that only remembers how it ended.
type verdict struct {
	testing.TB
	text string
}

func (v *verdict) Helper()                   {}
func (v *verdict) Fatalf(f string, a ...any) { v.end("fatal ", a) }
func (v *verdict) Skipf(f string, a ...any)  { v.end("skip ", a) }
func (v *verdict) end(how string, a []any) {
	if v.text == "" { // the real ones do not return
		v.text = how + a[0].(error).Error()
	}
}

func TestMissing(t *testing.T) {
	for ci, want := range map[bool]string{true: "fatal why", false: "skip why"} {
		v := new(verdict)
		missing(v, errors.New("why"), ci)
		require.Equal(t, want, v.text)
	}
}

// TestOrdinaryUser runs this test program as nobody.
func TestOrdinaryUser(t *testing.T) {
	if os.Getuid() != 0 || os.Getenv(reexecuted) != "" {
		t.Skip("needs root, who can become nobody")
	}
	self, err := os.Open("/proc/self/exe")
	require.NoError(t, err)
	defer self.Close()
	// By descriptor: nobody may not enter the directory of the program.
	cmd := exec.CommandContext(t.Context(), "/proc/self/fd/3", "-test.v", "-test.run=^(TestForward|TestRejects)$")
	cmd.ExtraFiles = []*os.File{self}
	cmd.Dir = "/"
	cmd.Env = slices.DeleteFunc(os.Environ(), func(v string) bool { return strings.HasPrefix(v, "CI=") })
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, "%s", out)
	if strings.Contains(string(out), "--- SKIP") {
		t.Skipf("%s", out)
	}
	require.Equal(t, 2, strings.Count(string(out), "--- PASS"), "%s", out)
}
