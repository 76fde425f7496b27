package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// schema is code that has many mutants at once, so that one build does for all
// of them. A mutant is a copy of the function that it is in, and the function
// begins by calling the copy if the environment names the mutant's number:
//
//	func f(a int) int {
//		switch mutantNumber {
//		case 17:
//			return f__mutant17(a)
//		}
type schema struct {
	work    string
	overlay string         // of the go command
	numbers map[int]mutant // those that compile, as far as is known
}

// variable names the mutant in the environment.
const variable = "SECGROUP_MUTANT"

// newSchema returns the schema of mutants, by their numbers, which begin at one.
func newSchema(work string, list map[int]mutant) (*schema, error) {
	s := &schema{work: work, overlay: filepath.Join(work, "overlay.json"), numbers: list}
	return s, s.write()
}

// drop leaves mutants out.
func (s *schema) drop(numbers []int) error {
	for _, n := range numbers {
		delete(s.numbers, n)
	}
	return s.write()
}

// write writes the files of the schema and the overlay.
func (s *schema) write() error {
	files := map[string][]int{}
	for n, m := range s.numbers {
		files[m.file] = append(files[m.file], n)
	}
	replace := map[string]string{}
	put := func(name string, code []byte) error {
		abs, err := filepath.Abs(name)
		if err != nil {
			return err
		}
		to, ok := replace[abs]
		if !ok {
			to = filepath.Join(s.work, fmt.Sprintf("%d.go", len(replace)))
			replace[abs] = to
		}
		return os.WriteFile(to, code, 0o600)
	}
	for name, numbers := range files {
		slices.Sort(numbers)
		src, err := os.ReadFile(name)
		if err != nil {
			return err
		}
		code, pkg, err := s.rewrite(name, src, numbers)
		if err != nil {
			return err
		}
		if err := put(name, code); err != nil {
			return err
		}
		code = fmt.Appendf(nil, "package %s\n\nimport (\n\t\"os\"\n\t\"strconv\"\n)\n\nvar mutantNumber, _ = strconv.Atoi(os.Getenv(%q))\n", pkg, variable)
		if err := put(filepath.Join(filepath.Dir(name), "mutant_number.go"), code); err != nil {
			return err
		}
	}
	list, err := json.Marshal(map[string]any{"Replace": replace})
	if err != nil {
		return err
	}
	return os.WriteFile(s.overlay, list, 0o600)
}

// rewrite returns a file with its mutants, and the name of its package.
func (s *schema) rewrite(name string, src []byte, numbers []int) (code []byte, pkg string, err error) {
	fset := token.NewFileSet()
	f, err := parser.ParseFile(fset, name, src, parser.SkipObjectResolution)
	if err != nil {
		return nil, "", err
	}
	var edits []edit
	var copies bytes.Buffer
	for _, decl := range f.Decls {
		fn, ok := decl.(*ast.FuncDecl)
		if !ok || fn.Body == nil {
			continue
		}
		at := func(p token.Pos) int { return fset.Position(p).Offset }
		var cases bytes.Buffer
		signature, call := forward(fn, at)
		for _, n := range numbers {
			m := s.numbers[n]
			if m.from < at(fn.Body.Pos()) || m.to > at(fn.Body.End()) {
				continue
			}
			to := fmt.Sprintf("%s__mutant%d", fn.Name.Name, n)
			fmt.Fprintf(&cases, "case %d: %s; ", n, strings.ReplaceAll(call, "\x00", to))
			list := append(slices.Clone(signature), edit{m.from, m.to, m.text}, edit{at(fn.Name.Pos()), at(fn.Name.End()), to})
			fmt.Fprintf(&copies, "\n//line mutant%d.go:1\n%s\n", n, apply(src, at(fn.Pos()), at(fn.End()), list))
		}
		if cases.Len() > 0 {
			edits = append(append(edits, signature...), edit{at(fn.Body.Lbrace) + 1, at(fn.Body.Lbrace) + 1, " switch mutantNumber { " + cases.String() + "}; "})
		}
	}
	return append(apply(src, 0, len(src), edits), copies.Bytes()...), f.Name.Name, nil
}

// edit replaces from..to of a text.
type edit struct {
	from, to int
	text     string
}

// apply returns from..to of src with the edits, which do not overlap.
func apply(src []byte, from, to int, edits []edit) []byte {
	edits = slices.Clone(edits)
	slices.SortStableFunc(edits, func(a, b edit) int { return a.from - b.from })
	var out []byte
	for _, e := range edits {
		out = append(append(out, src[from:e.from]...), e.text...)
		from = e.to
	}
	return append(out, src[from:to]...)
}

// forward returns the edits that name all parameters of fn, and the statement
// that calls another function (\x00) with them.
func forward(fn *ast.FuncDecl, at func(token.Pos) int) (signature []edit, call string) {
	names := func(list *ast.FieldList, prefix string) (out []string) {
		if list == nil {
			return nil
		}
		for _, field := range list.List {
			dots := ""
			if _, ok := field.Type.(*ast.Ellipsis); ok {
				dots = "..."
			}
			if len(field.Names) == 0 {
				name := fmt.Sprintf("%s%d", prefix, len(out))
				signature = append(signature, edit{at(field.Type.Pos()), at(field.Type.Pos()), name + " "})
				out = append(out, name+dots)
			}
			for _, id := range field.Names {
				name := id.Name
				if name == "_" {
					name = fmt.Sprintf("%s%d", prefix, len(out))
					signature = append(signature, edit{at(id.Pos()), at(id.End()), name})
				}
				out = append(out, name+dots)
			}
		}
		return out
	}
	call = "\x00"
	if fn.Recv != nil {
		call = names(fn.Recv, "receiver__")[0] + "." + call
	}
	if fn.Type.TypeParams != nil {
		var types []string
		for _, field := range fn.Type.TypeParams.List {
			for _, id := range field.Names {
				types = append(types, id.Name)
			}
		}
		call += "[" + strings.Join(types, ", ") + "]"
	}
	call += "(" + strings.Join(names(fn.Type.Params, "parameter__"), ", ") + ")"
	if fn.Type.Results == nil {
		return signature, call + "; return"
	}
	return signature, "return " + call
}
