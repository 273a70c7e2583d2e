package main

import (
	"cmp"
	"fmt"
	"go/ast"
	"go/constant"
	"go/token"
	"go/types"
	"path/filepath"
	"slices"
	"strings"
)

// site is one place of a small mistake: an operator that becomes another one.
type site struct {
	id        int
	kind      string // as gremlins has it
	at        token.Position
	old, then string
}

// String says where the mistake is made, and which.
func (s site) String() string {
	return fmt.Sprintf("%s:%d:%d %s: %s → %s", filepath.Base(s.at.Filename), s.at.Line, s.at.Column, s.kind, s.old, s.then)
}

// mistakes are what an operator becomes. They are those that gremlins makes unless it is told
// otherwise.
type mistakes struct{ boundaries, negations, arithmetic, steps map[token.Token]token.Token }

func allMistakes() mistakes {
	return mistakes{
		boundaries: map[token.Token]token.Token{token.LSS: token.LEQ, token.LEQ: token.LSS, token.GTR: token.GEQ, token.GEQ: token.GTR},
		negations: map[token.Token]token.Token{
			token.EQL: token.NEQ, token.NEQ: token.EQL, token.LSS: token.GEQ, token.LEQ: token.GTR, token.GTR: token.LEQ, token.GEQ: token.LSS,
		},
		arithmetic: map[token.Token]token.Token{token.ADD: token.SUB, token.SUB: token.ADD, token.MUL: token.QUO, token.QUO: token.MUL, token.REM: token.MUL},
		steps:      map[token.Token]token.Token{token.INC: token.DEC, token.DEC: token.INC},
	}
}

// switches is what the mistakes are switched by, one at a time. It is put into the package.
const switches = `
import (
	mutCmp_ "cmp"
	mutOS_ "os"
	mutConv_ "strconv"
)

var mutActive_ = func() int { n, _ := mutConv_.Atoi(mutOS_.Getenv("MUTANT")); return n }()

func mutOn_(id int) bool { return id == mutActive_ }

func mutCompare_[T mutCmp_.Ordered](op string, boundary, negation int, x, y T) bool {
	var is bool
	switch op {
	case "<":
		is = x < y || x == y && mutOn_(boundary)
	case "<=":
		is = x < y || x == y && !mutOn_(boundary)
	case ">":
		is = x > y || x == y && mutOn_(boundary)
	case ">=":
		is = x > y || x == y && !mutOn_(boundary)
	}
	return is != mutOn_(negation)
}

type mutWhole_ interface {
	~int | ~int8 | ~int16 | ~int32 | ~int64 | ~uint | ~uint8 | ~uint16 | ~uint32 | ~uint64 | ~uintptr
}

func mutReckon_[T mutWhole_ | ~float32 | ~float64](op string, id int, x, y T) T {
	if mutOn_(id) {
		op = map[string]string{"+": "-", "-": "+", "*": "/", "/": "*"}[op]
	}
	switch op {
	case "+":
		return x + y
	case "-":
		return x - y
	case "*":
		return x * y
	default:
		return x / y
	}
}

func mutRest_[T mutWhole_](id int, x, y T) T {
	if mutOn_(id) {
		return x * y
	}
	return x % y
}

func mutMinus_[T mutWhole_ | ~float32 | ~float64](id int, x T) T {
	if mutOn_(id) {
		return x
	}
	return -x
}

func mutStep_[T mutWhole_ | ~float32 | ~float64](id int, up T) T {
	if mutOn_(id) {
		return -up
	}
	return up
}
`

// edit is text that takes the place of what is between two offsets of a file.
type edit struct {
	from, to int
	text     string
	// depth orders insertions at one place: what encloses comes first at its beginning
	// and last at its end.
	depth int
}

// rewriter puts switches into one file.
type rewriter struct {
	mistakes

	fset  *token.FileSet
	info  *types.Info
	next  int
	sites []site
	edits []edit
}

// rewrite returns the source with all mistakes in it, each behind its switch.
func (r *rewriter) rewrite(file *ast.File, source []byte) string {
	r.edits = nil
	for _, d := range file.Decls {
		if f, ok := d.(*ast.FuncDecl); ok && f.Body != nil {
			r.walk(f.Body, 0)
		}
	}
	slices.SortStableFunc(r.edits, func(a, b edit) int { return cmp.Or(cmp.Compare(a.from, b.from), cmp.Compare(a.depth, b.depth)) })
	var out strings.Builder
	end := 0
	for _, e := range r.edits {
		out.Write(source[end:e.from])
		out.WriteString(e.text)
		end = e.to
	}
	out.Write(source[end:])
	return out.String()
}

// walk looks at what is below a node. Constants that the language wants to know are left alone.
func (r *rewriter) walk(n ast.Node, depth int) {
	ast.Inspect(n, func(child ast.Node) bool {
		if child == n {
			return true
		}
		switch child := child.(type) {
		case nil:
			return false
		case *ast.GenDecl:
			return child.Tok != token.CONST
		case *ast.ArrayType:
			return false
		case *ast.BinaryExpr:
			r.binary(child, depth+1)
			r.walk(child, depth+1)
			return false
		case *ast.UnaryExpr:
			if child.Op == token.SUB {
				r.minus(child, depth+1)
			}
		case *ast.IncDecStmt:
			r.step(child)
		}
		return true
	})
}

// binary puts a switch around an operator with two sides.
func (r *rewriter) binary(e *ast.BinaryExpr, depth int) {
	op := e.Op.String()
	switch {
	case e.Op == token.EQL || e.Op == token.NEQ:
		id := r.site("CONDITIONALS_NEGATION", e.OpPos, op, r.negations[e.Op])
		r.around(e, depth, "((", fmt.Sprintf(") != mutOn_(%d))", id))
	case r.boundaries[e.Op] != 0 && !r.constant(e):
		boundary := r.site("CONDITIONALS_BOUNDARY", e.OpPos, op, r.boundaries[e.Op])
		negation := r.site("CONDITIONALS_NEGATION", e.OpPos, op, r.negations[e.Op])
		r.around(e, depth, fmt.Sprintf("mutCompare_%s(%q, %d, %d, ", r.instance(e, e.X), op, boundary, negation), ")")
		r.comma(e)
	case r.arithmetic[e.Op] != 0 && r.number(e):
		id := r.site("ARITHMETIC_BASE", e.OpPos, op, r.arithmetic[e.Op])
		call := fmt.Sprintf("mutReckon_%s(%q, %d, ", r.instance(e, e), op, id)
		if e.Op == token.REM {
			call = fmt.Sprintf("mutRest_%s(%d, ", r.instance(e, e), id)
		}
		r.around(e, depth, call, ")")
		r.comma(e)
	}
}

// minus puts a switch around a sign.
func (r *rewriter) minus(e *ast.UnaryExpr, depth int) {
	if !r.number(e) {
		return
	}
	id := r.site("INVERT_NEGATIVES", e.OpPos, "-", token.ADD)
	from := r.offset(e.OpPos)
	r.edits = append(r.edits, edit{from, from + 1, fmt.Sprintf("mutMinus_%s(%d, ", r.instance(e, e), id), depth}, edit{r.offset(e.End()), r.offset(e.End()), ")", -depth})
}

// step puts a switch into a statement that counts.
func (r *rewriter) step(s *ast.IncDecStmt) {
	id := r.site("INCREMENT_DECREMENT", s.TokPos, s.Tok.String(), r.steps[s.Tok])
	sign := map[token.Token]string{token.INC: "+", token.DEC: "-"}[s.Tok]
	from := r.offset(s.TokPos)
	// A generic function would have to be told the type: its result is converted by the operator.
	r.edits = append(r.edits, edit{from, from + 2, fmt.Sprintf(" %s= mutStep_%s(%d, 1)", sign, r.typed(s.X), id), 0})
}

// around puts text before and after an expression.
func (r *rewriter) around(e ast.Expr, depth int, before, after string) {
	from, to := r.offset(e.Pos()), r.offset(e.End())
	r.edits = append(r.edits, edit{from, from, before, depth}, edit{to, to, after, -depth})
}

// comma has the two sides be two arguments.
func (r *rewriter) comma(e *ast.BinaryExpr) {
	from := r.offset(e.OpPos)
	r.edits = append(r.edits, edit{from, from + len(e.Op.String()), ",", 0})
}

// site notes a mistake.
func (r *rewriter) site(kind string, at token.Pos, old string, then token.Token) int {
	r.next++
	r.sites = append(r.sites, site{id: r.next, kind: kind, at: r.fset.Position(at), old: old, then: then.String()})
	return r.next
}

func (r *rewriter) offset(p token.Pos) int { return r.fset.Position(p).Offset }

// constant says whether the compiler knows the value.
func (r *rewriter) constant(e ast.Expr) bool { return r.info.Types[e].Value != nil }

// number says whether the expression is a number that may be reckoned when the program
// runs: the sides of a constant may be too large for its type.
func (r *rewriter) number(e ast.Expr) bool {
	t := r.info.Types[e]
	basic, ok := t.Type.Underlying().(*types.Basic)
	if !ok || basic.Info()&types.IsNumeric == 0 || basic.Info()&types.IsUntyped != 0 {
		return false
	}
	return t.Value == nil || t.Value.Kind() == constant.Int && (basic.Kind() == types.Int || basic.Kind() == types.Int64)
}

// instance names the type of an operand where a generic function would not find it:
// constants, and shifts of them, have that of what they meet.
func (r *rewriter) instance(e, operand ast.Expr) string {
	known := !r.constant(operand)
	ast.Inspect(e, func(n ast.Node) bool {
		if b, ok := n.(*ast.BinaryExpr); ok && (b.Op == token.SHL || b.Op == token.SHR) {
			known = false
		}
		return known
	})
	if known {
		return ""
	}
	return r.typed(operand)
}

// typed names the type of an expression for a generic function.
func (r *rewriter) typed(e ast.Expr) string {
	return "[" + types.TypeString(r.info.Types[e].Type, func(p *types.Package) string {
		if r.local(p) {
			return ""
		}
		return p.Name()
	}) + "]"
}

// local says whether a package is the one that is rewritten.
func (r *rewriter) local(p *types.Package) bool {
	for _, object := range r.info.Defs {
		if object != nil && object.Pkg() != nil {
			return object.Pkg() == p
		}
	}
	return false
}
