package bench_test

import (
	"fmt"
	"go/ast"
	"go/doc"
	"go/parser"
	"go/token"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// source is the Go files of one directory of the core, whatever system they
// are for.
type source struct {
	rel         string
	fset        *token.FileSet
	code, tests []*ast.File
}

// where is the place of n, for a message.
func (s *source) where(n ast.Node) string {
	p := s.fset.Position(n.Pos())
	return fmt.Sprintf("%s:%d", filepath.Join(s.rel, filepath.Base(p.Filename)), p.Line)
}

// sources parses every directory of the core that has packages.
func sources(t *testing.T) []*source {
	g := loaded(t)
	var out []*source
	core := g.core()
	for _, rel := range slices.Sorted(maps.Keys(core)) {
		s := &source{rel: rel, fset: token.NewFileSet()}
		files, err := filepath.Glob(filepath.Join(core[rel].Dir, "*.go"))
		require.NoError(t, err)
		for _, file := range files {
			f, err := parser.ParseFile(s.fset, file, nil, parser.ParseComments|parser.SkipObjectResolution)
			require.NoError(t, err)
			if strings.HasSuffix(file, "_test.go") {
				s.tests = append(s.tests, f)
			} else {
				s.code = append(s.code, f)
			}
		}
		out = append(out, s)
	}
	return out
}

// TestNoHiddenState: the core has no init functions, reads no environment, and
// has no package variables that can change.
func TestNoHiddenState(t *testing.T) {
	for _, s := range sources(t) {
		for _, f := range s.code {
			for _, fault := range hiddenState(f) {
				t.Errorf("%s: %s", s.where(fault.at), fault.what)
			}
		}
	}
}

type fault struct {
	at   ast.Node
	what string
}

func hiddenState(f *ast.File) []fault {
	var out []fault
	for _, d := range f.Decls {
		switch d := d.(type) {
		case *ast.FuncDecl:
			if d.Recv == nil && d.Name.Name == "init" {
				out = append(out, fault{d, "an init function"})
			}
		case *ast.GenDecl:
			if d.Tok != token.VAR {
				continue
			}
			for _, spec := range d.Specs {
				v := spec.(*ast.ValueSpec)
				for i, name := range v.Names {
					if name.Name != "_" && !(len(v.Values) == len(v.Names) && isSentinel(f, v.Values[i])) {
						out = append(out, fault{name, "package variable " + name.Name + " can change: only errors.New may stand in one"})
					}
				}
			}
		}
	}
	ast.Inspect(f, func(n ast.Node) bool {
		if sel, ok := n.(*ast.SelectorExpr); ok {
			switch pkg, name := imported(f, sel); {
			case pkg == "os" && slices.Contains([]string{"Getenv", "LookupEnv", "Environ", "ExpandEnv"}, name),
				pkg == "syscall" && slices.Contains([]string{"Getenv", "Environ"}, name):
				out = append(out, fault{sel, "reads the environment"})
			}
		}
		return true
	})
	return out
}

// isSentinel reports whether e is errors.New with a constant text.
func isSentinel(f *ast.File, e ast.Expr) bool {
	call, ok := e.(*ast.CallExpr)
	if !ok || len(call.Args) != 1 {
		return false
	}
	fun, ok := call.Fun.(*ast.SelectorExpr)
	if !ok {
		return false
	}
	_, literal := call.Args[0].(*ast.BasicLit)
	pkg, name := imported(f, fun)
	return literal && pkg == "errors" && name == "New"
}

// imported returns the package and the name that sel means, if it names
// something of another package.
func imported(f *ast.File, sel *ast.SelectorExpr) (pkg, name string) {
	x, ok := sel.X.(*ast.Ident)
	if !ok {
		return "", ""
	}
	for _, i := range f.Imports {
		full, _ := strconv.Unquote(i.Path.Value)
		local := full[strings.LastIndex(full, "/")+1:]
		if i.Name != nil {
			local = i.Name.Name
		}
		if local == x.Name {
			return full, sel.Sel.Name
		}
	}
	return "", ""
}

// TestHiddenStateIsFound: the check above sees what it is there for.
func TestHiddenStateIsFound(t *testing.T) {
	const code = `package p
import ("errors"; env "os"; "sync")
var ErrOne = errors.New("one")
var _ I = T{}
var ( ErrTwo, errThree = errors.New("2"), errors.New("3"); cache sync.Map )
var table = map[string]int{}
var late = errors.New(text())
var pair, of = two()
func init() {}
func (T) init() {}
func f() { _ = env.Getenv("HOME"); env.Getpid() }
`
	f, err := parser.ParseFile(token.NewFileSet(), "p.go", code, parser.SkipObjectResolution)
	require.NoError(t, err)
	require.Len(t, hiddenState(f), 7)
}

// TestPureGo: the core has no unsafe, no cgo and no assembly. Its tests may
// measure sizes with package unsafe.
func TestPureGo(t *testing.T) {
	core := loaded(t).core()
	for _, s := range sources(t) {
		for _, f := range s.code {
			for _, i := range f.Imports {
				if p, _ := strconv.Unquote(i.Path.Value); p == "unsafe" || p == "C" {
					t.Errorf("%s imports %q", s.where(i), p)
				}
			}
		}
		entries, err := os.ReadDir(core[s.rel].Dir)
		require.NoError(t, err)
		for _, e := range entries {
			switch strings.ToLower(filepath.Ext(e.Name())) {
			case ".s", ".sx", ".c", ".cc", ".cpp", ".cxx", ".h", ".hh", ".hpp", ".m", ".f", ".f90", ".swig", ".swigcxx", ".syso", ".a", ".o":
				t.Errorf("%s: only Go files are compiled", filepath.Join(s.rel, e.Name()))
			}
		}
	}
}

// TestDocComments: every package of the core and every exported identifier in
// it says what it is. A constant of a type that is declared beside it may
// leave that to the type.
func TestDocComments(t *testing.T) {
	for _, s := range sources(t) {
		documented := false
		for _, f := range s.code {
			documented = documented || f.Doc != nil
			for _, n := range undocumented(s.code, f) {
				t.Errorf("%s: %s has no doc comment", s.where(n), n.Name)
			}
		}
		if !documented {
			t.Errorf("package %q has no package comment", s.rel)
		}
	}
}

func undocumented(pkg []*ast.File, f *ast.File) []*ast.Ident {
	var out []*ast.Ident
	check := func(n *ast.Ident, docs ...*ast.CommentGroup) {
		if n.IsExported() && !slices.ContainsFunc(docs, func(c *ast.CommentGroup) bool { return c.Text() != "" }) {
			out = append(out, n)
		}
	}
	for _, d := range f.Decls {
		switch d := d.(type) {
		case *ast.FuncDecl:
			if d.Recv == nil || receiver(d).IsExported() {
				check(d.Name, d.Doc)
			}
		case *ast.GenDecl:
			typ := "" // of a constant, inherited by those that leave it out
			for _, spec := range d.Specs {
				switch spec := spec.(type) {
				case *ast.TypeSpec:
					if d.Lparen.IsValid() {
						check(spec.Name, spec.Doc, spec.Comment)
					} else {
						check(spec.Name, d.Doc, spec.Doc, spec.Comment)
					}
				case *ast.ValueSpec:
					if id, ok := spec.Type.(*ast.Ident); ok {
						typ = id.Name
					} else if len(spec.Values) > 0 {
						typ = ""
					}
					if d.Tok == token.CONST && typ != "" && declares(pkg, typ) {
						continue
					}
					for _, n := range spec.Names {
						check(n, d.Doc, spec.Doc, spec.Comment)
					}
				}
			}
		}
	}
	return out
}

// receiver returns the name of the type that a method belongs to.
func receiver(d *ast.FuncDecl) *ast.Ident {
	e := d.Recv.List[0].Type
	for {
		switch t := e.(type) {
		case *ast.StarExpr:
			e = t.X
		case *ast.IndexExpr:
			e = t.X
		case *ast.IndexListExpr:
			e = t.X
		case *ast.Ident:
			return t
		default:
			return ast.NewIdent("_")
		}
	}
}

// declares reports whether pkg declares a type of that name.
func declares(pkg []*ast.File, name string) bool {
	for _, f := range pkg {
		for _, d := range f.Decls {
			if g, ok := d.(*ast.GenDecl); ok && g.Tok == token.TYPE {
				for _, s := range g.Specs {
					if s.(*ast.TypeSpec).Name.Name == name {
						return true
					}
				}
			}
		}
	}
	return false
}

// TestUndocumentedIsFound: the check above sees what it is there for.
func TestUndocumentedIsFound(t *testing.T) {
	const code = `package p
// T is documented.
type T int
const A T = 1
const ( B = iota; C )
const D = 1 // D is one.
func F() {}
func (t *T) M() {}
func (l *list[K]) M() {}
// G is documented.
func G() {}
type ( U int; v int )
`
	f, err := parser.ParseFile(token.NewFileSet(), "p.go", code, parser.SkipObjectResolution|parser.ParseComments)
	require.NoError(t, err)
	var names []string
	for _, n := range undocumented([]*ast.File{f}, f) {
		names = append(names, n.Name)
	}
	require.Equal(t, []string{"B", "C", "F", "M", "U"}, names)
}

// TestExamples: every public package of the core shows itself in an example
// whose output is compared.
func TestExamples(t *testing.T) {
	for _, s := range sources(t) {
		if slices.Contains(strings.Split(s.rel, "/"), "internal") || !exportsAnything(s.code) {
			continue
		}
		if !slices.ContainsFunc(doc.Examples(s.tests...), func(e *doc.Example) bool { return e.Output != "" || e.EmptyOutput }) {
			t.Errorf("package %q has no example with output", s.rel)
		}
	}
}

func exportsAnything(pkg []*ast.File) bool {
	return slices.ContainsFunc(pkg, func(f *ast.File) bool {
		return slices.ContainsFunc(f.Decls, func(d ast.Decl) bool {
			switch d := d.(type) {
			case *ast.FuncDecl:
				return d.Name.IsExported()
			case *ast.GenDecl:
				return slices.ContainsFunc(d.Specs, func(s ast.Spec) bool {
					switch s := s.(type) {
					case *ast.TypeSpec:
						return s.Name.IsExported()
					case *ast.ValueSpec:
						return slices.ContainsFunc(s.Names, (*ast.Ident).IsExported)
					}
					return false
				})
			}
			return false
		})
	})
}
