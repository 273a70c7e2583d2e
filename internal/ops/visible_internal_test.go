package ops

import (
	"net/netip"
	"reflect"
	"testing"
	"time"

	"doublenat/internal/foreign"
)

// eachText calls f for each text in a value; slices that are empty get an element.
func eachText(v reflect.Value, path string, f func(path string, text reflect.Value)) {
	switch v.Kind() {
	case reflect.String:
		f(path, v)
	case reflect.Struct:
		if v.Type() == reflect.TypeFor[time.Time]() || v.Type() == reflect.TypeFor[netip.Addr]() {
			return
		}
		for i := range v.NumField() {
			if field := v.Type().Field(i); field.IsExported() {
				eachText(v.Field(i), path+"."+field.Name, f)
			}
		}
	case reflect.Slice:
		if v.Len() == 0 {
			v.Set(reflect.MakeSlice(v.Type(), 1, 1))
		}
		for i := range v.Len() {
			eachText(v.Index(i), path, f)
		}
	case reflect.Array:
		for i := range v.Len() {
			eachText(v.Index(i), path, f)
		}
	case reflect.Pointer:
		if v.IsNil() {
			v.Set(reflect.New(v.Type().Elem()))
		}
		eachText(v.Elem(), path, f)
	default:
	}
}

// Every text of a picture is made visible, also in a field that is added some day.
func TestAllOfAPictureIsVisible(t *testing.T) {
	t.Parallel()
	const forgery = "x\x1b[2J\nFORGED \u202e\xff"
	var s Status
	texts := 0
	eachText(reflect.ValueOf(&s), "Status", func(_ string, text reflect.Value) {
		text.SetString(forgery)
		texts++
	})
	if texts < 15 {
		t.Errorf("%d texts: this test looks at too little", texts)
	}
	shown := visible(s)
	eachText(reflect.ValueOf(&shown), "Status", func(path string, text reflect.Value) {
		if text.String() != foreign.Text(forgery) {
			t.Errorf("%s is shown as %q", path, text)
		}
	})
}
