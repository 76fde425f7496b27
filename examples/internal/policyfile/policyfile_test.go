package policyfile

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"example.com/secgroup/compile"
	"example.com/secgroup/sg"
	"example.com/secgroup/sg/policy"
)

// text is a policy with a group of that name.
func text(name string) string {
	return `{"profile": "strict", "security_groups": [{"id": "sg", "name": "` + name + `"}]}`
}

// applied keeps the generations and the groups' names that were applied.
type applied struct {
	names       []string
	generations []uint64
	during      func() // called by the next one, before it is done

	mu   sync.Mutex
	fail error
}

// failing makes what follows fail, or succeed if err is nil.
func (a *applied) failing(err error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.fail = err
}

func (a *applied) apply(_ context.Context, s *policy.Snapshot, m *compile.Matcher) error {
	if f := a.during; f != nil {
		a.during = nil
		f()
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.fail != nil {
		return a.fail
	}
	g, _ := s.Group("sg")
	a.names = append(a.names, g.Name)
	a.generations = append(a.generations, m.Program().Generation())
	return nil
}

// watched runs steps against a file that is watched, with the seconds of a fake
// clock between them, and returns what was said.
func watched(t *testing.T, steps func(path string, a *applied, seconds func(n int))) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "policy.json")
	require.NoError(t, os.WriteFile(path, []byte(text("first")), 0o600))
	var log strings.Builder
	synctest.Test(t, func(t *testing.T) {
		a := &applied{}
		f := &File{Path: path, Apply: a.apply}
		require.NoError(t, f.Load(t.Context()))
		ctx, stop := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- f.Watch(ctx, &log, "gateway") }()
		synctest.Wait() // its clock begins
		time.Sleep(time.Second / 2)
		steps(path, a, func(n int) {
			time.Sleep(time.Duration(n) * time.Second)
			synctest.Wait()
		})
		stop()
		require.ErrorIs(t, <-done, context.Canceled)
	})
	return strings.ReplaceAll(log.String(), path, "policy.json")
}

func write(t *testing.T, path, text string) {
	t.Helper()
	require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
}

func TestEdits(t *testing.T) {
	said := watched(t, func(path string, a *applied, seconds func(int)) {
		seconds(3)
		require.Equal(t, []string{"first"}, a.names, "nothing changed")
		write(t, path, text("second"))
		seconds(1)
		write(t, path, text("third"))
		seconds(1)
		require.Equal(t, []string{"first", "second", "third"}, a.names)
		require.IsIncreasing(t, a.generations, "one compiler")
	})
	require.Empty(t, said)
}

// TestEditWhileApplying: what is written while the version before is being
// applied is not lost.
func TestEditWhileApplying(t *testing.T) {
	path := filepath.Join(t.TempDir(), "policy.json")
	write(t, path, text("first"))
	a := &applied{}
	a.during = func() { write(t, path, text("second")) }
	f := &File{Path: path, Apply: a.apply}
	require.NoError(t, f.Load(t.Context()))
	require.Equal(t, []string{"first"}, a.names)
	require.NoError(t, f.Load(t.Context()))
	require.Equal(t, []string{"first", "second"}, a.names)
	require.NoError(t, f.Load(t.Context()))
	require.Len(t, a.names, 2)
}

// TestBroken: a version that is no policy is said once, with its faults and
// what comes of it.
func TestBroken(t *testing.T) {
	said := watched(t, func(path string, a *applied, seconds func(int)) {
		write(t, path, `{"profile": "nope", "groups": []}`)
		seconds(3)
		require.Equal(t, []string{"first"}, a.names)
		write(t, path, text("second"))
		seconds(1)
		require.Equal(t, []string{"first", "second"}, a.names)
	})
	require.Equal(t, `gateway: policy.json: 2 faults:
  groups: unknown field
  profile: not found "nope": no such profile; there are aws, hypervisor, kakao, nfyio, openstack, stackit, strict
gateway: the policy before stays in force
`, said)
}

// TestGone: a file that is gone is said, unless it is back at once.
func TestGone(t *testing.T) {
	said := watched(t, func(path string, a *applied, seconds func(int)) {
		require.NoError(t, os.Remove(path))
		seconds(1)
		write(t, path, text("first"))
		seconds(1)
	})
	require.Empty(t, said)

	said = watched(t, func(path string, a *applied, seconds func(int)) {
		require.NoError(t, os.Remove(path))
		seconds(5)
		write(t, path, text("second"))
		seconds(1)
		require.Equal(t, []string{"first", "second"}, a.names)
		require.NoError(t, os.Remove(path))
		require.NoError(t, os.Mkdir(path, 0o700))
		seconds(1)
	})
	lines := strings.Split(said, "\n")
	require.Len(t, lines, 5)
	require.Equal(t, "gateway: open policy.json: no such file or directory", lines[0])
	require.Equal(t, "gateway: the policy before stays in force", lines[1])
	require.Contains(t, lines[2], "is a directory")
}

// TestNotApplied: what failed for another reason than the document is tried
// again; what the document is to blame for is not.
func TestNotApplied(t *testing.T) {
	said := watched(t, func(path string, a *applied, seconds func(int)) {
		a.failing(errors.New("no room"))
		write(t, path, text("second"))
		seconds(3)
		a.failing(nil)
		seconds(1)
		require.Equal(t, []string{"first", "second"}, a.names)

		a.failing(sg.Errors{{Path: "device", Err: sg.ErrInvalid}})
		write(t, path, text("third"))
		seconds(3)
		a.failing(nil)
		seconds(1)
		require.Equal(t, []string{"first", "second"}, a.names)
	})
	require.Equal(t, `gateway: no room
gateway: the policy before stays in force
gateway: policy.json: device: invalid
gateway: the policy before stays in force
`, said)
}

func TestStandardInput(t *testing.T) {
	a := &applied{}
	f := &File{Path: "-", Stdin: strings.NewReader(text("input")), Profile: "aws", Apply: a.apply}
	require.NoError(t, f.Load(t.Context()))
	require.Equal(t, []string{"input"}, a.names)
	f = &File{Path: "-", Stdin: strings.NewReader("{}"), Apply: a.apply}
	require.ErrorContains(t, f.Load(t.Context()), "standard input: profile: required")
}
