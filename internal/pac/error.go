package pac

import (
	"errors"
	"fmt"

	"github.com/dop251/goja"
	"github.com/dop251/goja/file"
	"github.com/dop251/goja/parser"
)

// Error is what is wrong with a script, or with its run.
type Error struct {
	Name   string // of the script
	Line   int    // from 1; 0: no place in the text
	Column int    // from 1
	Err    error
}

func (e *Error) Error() string {
	if e.Line == 0 {
		return fmt.Sprintf("pac script %s: %v", e.Name, e.Err)
	}
	return fmt.Sprintf("pac script %s, line %d, column %d: %v", e.Name, e.Line, e.Column, e.Err)
}

func (e *Error) Unwrap() error { return e.Err }

// named gives an error the name of its script.
func named(name string, err error) error {
	if at := (*Error)(nil); errors.As(err, &at) {
		at.Name = name
		return at
	}
	return &Error{Name: name, Err: err}
}

func at(p file.Position, err error) error { return &Error{Line: p.Line, Column: p.Column, Err: err} }

// misspelt tells where a script breaks the rules of its language.
func misspelt(err error) error {
	var list parser.ErrorList
	if errors.As(err, &list) && len(list) > 0 {
		return at(list[0].Position, errors.New(printable("SyntaxError: "+list[0].Message)))
	}
	var syntax *goja.CompilerSyntaxError
	if errors.As(err, &syntax) && syntax.File != nil {
		return at(syntax.File.Position(syntax.Offset), errors.New(printable("SyntaxError: "+syntax.Message)))
	}
	return errors.New(printable(err.Error()))
}

// thrown tells where and why a run ended.
func thrown(err error) error {
	var (
		interrupted *goja.InterruptedError
		overflow    *goja.StackOverflowError
		exception   *goja.Exception
	)
	switch {
	case errors.As(err, &interrupted):
		why, ok := interrupted.Value().(error)
		if !ok {
			why = errors.New("stopped")
		}
		return place(interrupted.Stack(), why)
	case errors.As(err, &overflow):
		return place(overflow.Stack(), fmt.Errorf("more than %d calls deep", maxCalls))
	case errors.As(err, &exception):
		return place(exception.Stack(), errors.New(wording(exception)))
	}
	return errors.New(printable(err.Error()))
}

// place takes the innermost frame that is in the script.
func place(stack []goja.StackFrame, err error) error {
	for _, frame := range stack {
		if p := frame.Position(); p.Line > 0 && frame.SrcName() != fenceName {
			return at(p, err)
		}
	}
	return err
}

// wording is the text of an exception. It may be made by code of the script,
// which can throw or be stopped in its turn: call it where time is bounded.
func wording(e *goja.Exception) (text string) {
	defer func() {
		if recover() != nil {
			text = "an exception that has no text"
		}
	}()
	return printable(e.Value().String())
}
