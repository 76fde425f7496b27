package bench_test

import (
	"encoding/json"
	"errors"
	"io"
	"maps"
	"os"
	"os/exec"
	"path"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
)

// External modules that the core may link.
const (
	modBart = "github.com/gaissmai/bart"
	modSys  = "golang.org/x/sys"
)

// mayImport is the import graph of the core: what each package, by its path
// below the module, may import beside the standard library. "*" stands for one
// path element. A package that is neither here nor below examples or bench is
// a fault: adding one is a decision to be written down.
func mayImport() map[string][]string {
	return map[string][]string{
		"": {}, // doc.go

		"sg":                    {},
		"sg/cow":                {},
		"ipset":                 {"sg", "sg/cow"},
		"sg/dialect":            {"sg", "sg/dialect/*"},
		"sg/dialect/*":          {"sg", "sg/internal/jsontree", "sg/dialect/internal/*"},
		"sg/dialect/internal/*": {"sg", "sg/internal/jsontree"},
		"sg/lint":               {"sg", "sg/policy"},
		"sg/internal/jsontree":  {"sg"},
		"sg/policy":             {"sg", "sg/cow", "ipset"},
		"sg/policy/document":    {"sg", "sg/policy", "ipset", "sg/internal/jsontree"},

		"conntrack/packet": {},
		"conntrack":        {"conntrack/packet"},

		"compile/ir":         {"sg", "sg/cow"},
		"compile":            {"compile/ir", "compile/internal/*", "sg", "sg/policy", "ipset", modBart},
		"compile/internal/*": {"compile/ir", "sg", "compile/internal/*", modBart},

		"enforce":             {"compile", "compile/ir", "conntrack", "conntrack/packet", "sg", "sg/policy"},
		"enforce/nftables":    {"enforce", "compile", "compile/ir", "sg", "sg/cow", modSys},
		"enforce/tun":         {"enforce", "compile/ir", "conntrack/packet", "sg", modSys},
		"enforce/enforcetest": {"enforce", "compile", "compile/ir", "conntrack", "conntrack/packet", "ipset", "sg", "sg/policy"},
	}
}

// isCore reports whether a package, by its path below the module, is one that
// programs import: not an example and not a benchmark.
func isCore(rel string) bool {
	top, _, _ := strings.Cut(rel, "/")
	// A test kit (internal/…/xtest) is for tests only: no row below allows it.
	kit := strings.Contains(rel, "/internal/") && strings.HasSuffix(rel, "test")
	return top != "examples" && top != "bench" && !kit
}

// listed is what `go list -json` says of a package.
type listed struct {
	ImportPath   string
	Dir          string
	Name         string
	Standard     bool
	Module       *struct{ Path, Dir string }
	Imports      []string
	TestGoFiles  []string
	XTestGoFiles []string
}

// tree is the module and everything that it links.
type tree struct {
	path, dir string
	packages  map[string]map[string]*listed // by GOOS, then by import path
}

// core yields every core package once, by its path below the module.
func (g *tree) core() map[string]*listed {
	out := make(map[string]*listed)
	for _, packages := range g.packages {
		for _, p := range packages {
			if rel, ok := g.rel(p.ImportPath); ok && isCore(rel) {
				out[rel] = p
			}
		}
	}
	return out
}

// rel returns the path of a package below the module.
func (g *tree) rel(importPath string) (string, bool) {
	rel, ok := strings.CutPrefix(importPath+"/", g.path+"/")
	return strings.TrimSuffix(rel, "/"), ok
}

// load lists the module for Linux and for a system that is not. It reads no
// network as long as the modules that the packages import are in the cache.
var load = sync.OnceValues(func() (*tree, error) {
	var main struct{ Path, Dir string }
	if err := goList(runtime.GOOS, ".", func(d *json.Decoder) error { return d.Decode(&main) }, "-m", "-json"); err != nil {
		return nil, err
	}
	g := &tree{path: main.Path, dir: main.Dir, packages: make(map[string]map[string]*listed)}
	for _, goos := range []string{"linux", "darwin"} {
		g.packages[goos] = make(map[string]*listed)
		err := goList(goos, g.dir, func(d *json.Decoder) error {
			for {
				p := new(listed)
				if err := d.Decode(p); err == io.EOF {
					return nil
				} else if err != nil {
					return err
				}
				g.packages[goos][p.ImportPath] = p
			}
		}, "-deps", "-buildvcs=false", "-json=ImportPath,Dir,Name,Standard,Module,Imports,TestGoFiles,XTestGoFiles", "./...")
		if err != nil {
			return nil, err
		}
	}
	return g, nil
})

func goList(goos, dir string, read func(*json.Decoder) error, args ...string) error {
	cmd := exec.Command("go", append([]string{"list"}, args...)...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "GOOS="+goos, "GOWORK=off", "CGO_ENABLED=0")
	out, err := cmd.Output()
	if err != nil {
		var exit *exec.ExitError
		if errors.As(err, &exit) {
			return errors.New(cmd.String() + ": " + string(exit.Stderr))
		}
		return err
	}
	return read(json.NewDecoder(strings.NewReader(string(out))))
}

func loaded(t *testing.T) *tree {
	g, err := load()
	require.NoError(t, err)
	require.NotEmpty(t, g.core())
	return g
}

// rowOf finds the row of the table for a package.
func rowOf(table map[string][]string, rel string) (row []string, ok bool) {
	for pattern, row := range table {
		if hit, _ := path.Match(pattern, rel); hit {
			return row, true
		}
	}
	return nil, false
}

// allows reports whether a row names a package.
func allows(row []string, name string) bool {
	return slices.ContainsFunc(row, func(pattern string) bool {
		hit, _ := path.Match(pattern, name)
		return hit || strings.HasPrefix(name, pattern+"/") && slices.Contains([]string{modBart, modSys}, pattern)
	})
}

// forbidden returns what p imports against the table.
func (g *tree) forbidden(p *listed, row []string, packages map[string]*listed) []string {
	var out []string
	for _, name := range p.Imports {
		short, own := g.rel(name)
		if !own {
			if d := packages[name]; d != nil && d.Standard {
				continue
			}
			short = name
		}
		if !allows(row, short) {
			out = append(out, short)
		}
	}
	return out
}

// TestImportGraph: every package of the core imports what the table allows and
// nothing else, and every package is in the table.
func TestImportGraph(t *testing.T) {
	g, table := loaded(t), mayImport()
	for goos, packages := range g.packages {
		for _, name := range slices.Sorted(maps.Keys(packages)) {
			rel, own := g.rel(name)
			if !own || !isCore(rel) {
				continue
			}
			row, ok := rowOf(table, rel)
			if !ok {
				t.Errorf("package %q is new: give it a row in mayImport, and in the design", rel)
				continue
			}
			for _, bad := range g.forbidden(packages[name], row, packages) {
				t.Errorf("%s (%s) imports %s; the table allows %q beside the standard library", rel, goos, bad, row)
			}
		}
	}
}

// TestImportTable: the table itself rules out what it should.
func TestImportTable(t *testing.T) {
	table := mayImport()
	for _, c := range []struct {
		from, to string
		want     bool
	}{
		{"sg/dialect/aws", "sg", true},
		{"sg/dialect/aws", "sg/dialect/nfyio", false},
		{"compile/internal/x", "compile/internal/y", true},
		{"compile", modBart, true},
		{"compile", modBart + "/internal/lpm", true},
		{"compile", modBart + "x", false},
		{"conntrack", "sg", false},
		{"enforce", "enforce/tun", false},
		{"enforce", modSys, false},
		{"enforce/nftables", modSys + "/unix", true},
		{"sg", "sg/cow", false},
	} {
		row, ok := rowOf(table, c.from)
		require.True(t, ok, c.from)
		require.Equal(t, c.want, allows(row, c.to), "%s imports %s", c.from, c.to)
	}
	for _, unlisted := range []string{"util", "sg/dialect/aws/v2", "compile/internal/a/b"} {
		_, ok := rowOf(table, unlisted)
		require.False(t, ok, unlisted)
	}
}

// TestExternalModules: who links the core links bart and golang.org/x/sys at
// most, whatever those import in turn.
func TestExternalModules(t *testing.T) {
	g := loaded(t)
	for goos, packages := range g.packages {
		seen := make(map[string]bool)
		var visit func(name, by string)
		visit = func(name, by string) {
			p := packages[name]
			if p == nil || p.Standard || seen[name] {
				return
			}
			seen[name] = true
			if p.Module == nil || p.Module.Path != g.path && p.Module.Path != modBart && p.Module.Path != modSys {
				t.Errorf("the core links %s (%s), imported by %s", name, goos, by)
				return
			}
			for _, i := range p.Imports {
				visit(i, name)
			}
		}
		for _, p := range g.core() {
			visit(p.ImportPath, "a program")
		}
	}
}

// TestTopLevel: the repository shows exactly what its owner wants at the top.
func TestTopLevel(t *testing.T) {
	g := loaded(t)
	git := func(args ...string) (string, error) {
		cmd := exec.Command("git", args...)
		cmd.Dir = g.dir
		out, err := cmd.Output()
		return string(out), err
	}
	// Files of the work tree that are not ignored count too: they are what
	// will be committed next.
	out, err := git("ls-files", "-z", "--cached", "--others", "--exclude-standard")
	if err != nil || out == "" {
		t.Skipf("needs a git checkout that this user may read: %v", err)
	}
	have := make(map[string]bool)
	for _, file := range strings.Split(out, "\x00") {
		top, _, _ := strings.Cut(file, "/")
		if _, err := os.Lstat(path.Join(g.dir, top)); err == nil && top != "" && !strings.HasPrefix(top, ".") {
			have[top] = true
		}
	}
	want := strings.Fields("sg ipset conntrack compile enforce examples bench doc.go go.mod go.sum README.md")
	for _, name := range want {
		if !have[name] {
			t.Errorf("the top level lacks %s", name)
		}
		delete(have, name)
	}
	for _, name := range slices.Sorted(maps.Keys(have)) {
		t.Errorf("%s does not belong at the top level; dot-files and %q do", name, want)
	}
}
