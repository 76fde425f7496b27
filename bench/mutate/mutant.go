package main

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// mutant is one change: the bytes from..to of a file become text.
type mutant struct {
	file     string
	line     int
	column   int
	from, to int
	text     string
	old      string
}

func (m mutant) String() string {
	return fmt.Sprintf("%s:%d:%d: %s -> %s", m.file, m.line, m.column, oneLine(m.old), oneLine(m.text))
}

func oneLine(s string) string {
	s = strings.Join(strings.Fields(s), " ")
	if len(s) > 80 {
		s = s[:80] + "…"
	}
	if s == "" {
		return "nothing"
	}
	return s
}

// find returns every mutant of the package in a directory, in order of its
// files and places. Files for other systems, and tests, are left alone.
func find(dir string) ([]mutant, error) {
	files, err := filepath.Glob(filepath.Join(dir, "*.go"))
	if err != nil {
		return nil, err
	}
	var out []mutant
	for _, name := range files {
		if strings.HasSuffix(name, "_test.go") || strings.HasSuffix(name, "_other.go") {
			continue
		}
		src, err := os.ReadFile(name)
		if err != nil {
			return nil, err
		}
		list, err := mutants(name, src)
		if err != nil {
			return nil, err
		}
		out = append(out, list...)
	}
	if len(out) == 0 {
		return nil, fmt.Errorf("%s: no Go code to mutate", dir)
	}
	return out, nil
}

// mutants returns the mutants of one file: of the bodies of its functions.
func mutants(name string, src []byte) ([]mutant, error) {
	fset := token.NewFileSet()
	f, err := parser.ParseFile(fset, name, src, parser.SkipObjectResolution)
	if err != nil {
		return nil, err
	}
	var out []mutant
	replace := func(from, to token.Pos, text string) {
		a, b := fset.Position(from), fset.Position(to)
		old := string(src[a.Offset:b.Offset])
		if old != text {
			out = append(out, mutant{name, a.Line, a.Column, a.Offset, b.Offset, text, old})
		}
	}
	var visit func(n ast.Node) bool
	visit = func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.GenDecl:
			// Names of states and sizes of buffers: other values are as good.
			return n.Tok != token.CONST && n.Tok != token.TYPE
		case *ast.BinaryExpr:
			for _, op := range swaps(n.Op) {
				replace(n.OpPos, n.OpPos+token.Pos(len(n.Op.String())), op)
			}
		case *ast.BasicLit:
			if v, err := strconv.ParseUint(n.Value, 0, 64); n.Kind == token.INT && err == nil {
				replace(n.Pos(), n.End(), strconv.FormatUint(v+1, 10))
			}
		case *ast.IfStmt:
			cond := string(src[fset.Position(n.Cond.Pos()).Offset:fset.Position(n.Cond.End()).Offset])
			replace(n.Cond.Pos(), n.Cond.End(), "!("+cond+")")
		case *ast.BlockStmt:
			for _, s := range n.List {
				if removable(s) {
					replace(s.Pos(), s.End(), "")
				}
			}
		case *ast.CaseClause:
			for _, s := range n.Body {
				if removable(s) {
					replace(s.Pos(), s.End(), "")
				}
			}
		case *ast.ReturnStmt:
			for _, r := range n.Results {
				if id, ok := r.(*ast.Ident); ok && (id.Name == "true" || id.Name == "false") {
					replace(id.Pos(), id.End(), strconv.FormatBool(id.Name == "false"))
				}
			}
		case *ast.IncDecStmt:
			op := "++"
			if n.Tok == token.INC {
				op = "--"
			}
			replace(n.TokPos, n.TokPos+2, op)
		case *ast.CallExpr:
			if args := n.Args[:withoutHint(n)]; len(args) < len(n.Args) {
				for _, a := range args {
					ast.Inspect(a, visit)
				}
				return false
			}
			if s := prefix(n); s != nil {
				ast.Inspect(s.X, visit)
				if s.Low != nil {
					ast.Inspect(s.Low, visit)
				}
				return false
			}
		}
		return true
	}
	for _, decl := range f.Decls {
		fn, ok := decl.(*ast.FuncDecl)
		if ok && fn.Body != nil && !slices.Contains(exempt, fn.Name.Name) {
			ast.Inspect(fn.Body, visit)
		}
	}
	return out, nil
}

// exempt are functions that the tests are not asked about: String and Error make
// what a person reads; touch, by the convention of this repository, reads memory
// ahead of its use, and changes nothing but time.
var exempt = []string{"String", "Error", "touch"}

// prefix returns the argument of a call such as le.Uint64(b[i:j]), nil if it is no
// such call. It reads the first eight bytes, so a j that leaves more is as good.
func prefix(c *ast.CallExpr) *ast.SliceExpr {
	f, ok := c.Fun.(*ast.SelectorExpr)
	if !ok || len(c.Args) != 1 || !slices.Contains([]string{"Uint16", "Uint32", "Uint64"}, f.Sel.Name) {
		return nil
	}
	s, _ := c.Args[0].(*ast.SliceExpr)
	return s
}

// withoutHint returns how many arguments of a call say more than how much room
// to make: all but the capacity of a slice or a map.
func withoutHint(c *ast.CallExpr) int {
	if id, ok := c.Fun.(*ast.Ident); !ok || id.Name != "make" || len(c.Args) == 0 {
		return len(c.Args)
	}
	if _, ok := c.Args[0].(*ast.MapType); ok {
		return 1
	}
	return min(len(c.Args), 2)
}

// removable reports whether s can be left out without breaking what is around
// it.
func removable(s ast.Stmt) bool {
	switch s := s.(type) {
	case *ast.ExprStmt, *ast.IncDecStmt:
		return true
	case *ast.AssignStmt:
		return s.Tok != token.DEFINE
	case *ast.BranchStmt:
		return s.Tok == token.BREAK || s.Tok == token.CONTINUE
	}
	return false
}

// swaps returns what an operator is taken for.
func swaps(op token.Token) []string {
	switch op {
	case token.EQL:
		return []string{"!="}
	case token.NEQ:
		return []string{"=="}
	case token.LSS:
		return []string{"<=", ">="}
	case token.LEQ:
		return []string{"<", ">"}
	case token.GTR:
		return []string{">=", "<="}
	case token.GEQ:
		return []string{">", "<"}
	case token.LAND:
		return []string{"||"}
	case token.LOR:
		return []string{"&&"}
	case token.ADD:
		return []string{"-"}
	case token.SUB:
		return []string{"+"}
	case token.MUL:
		return []string{"/"}
	case token.SHL:
		return []string{">>"}
	case token.SHR:
		return []string{"<<"}
	case token.AND:
		return []string{"|"}
	case token.OR:
		return []string{"&"}
	case token.XOR, token.AND_NOT:
		return []string{"&"}
	}
	return nil
}
