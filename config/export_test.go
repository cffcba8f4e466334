package config

import (
	"reflect"
	"strings"
)

// Parse is Load for text that need not be in a file.
func Parse(path string, text []byte) (*Config, error) {
	return parse(path, text, func(string) bool { return true })
}

// Keys lists every key that the file can have, as in "hsm.pin.file" or
// "clients[].name".
func Keys() []string { return keys("", reflect.TypeFor[file]()) }

func keys(prefix string, t reflect.Type) []string {
	var list []string
	for i := range t.NumField() {
		name := t.Field(i).Tag.Get("yaml")
		if name == "" {
			return []string{strings.TrimSuffix(prefix, ".")} // one of our own scalars
		}
		switch inner := t.Field(i).Type; {
		case name == ",inline":
			list = append(list, keys(prefix, inner)...)
		case inner.Kind() == reflect.Struct:
			list = append(list, keys(prefix+name+".", inner)...)
		case inner.Kind() == reflect.Slice && inner.Elem().Kind() == reflect.Struct:
			list = append(list, keys(prefix+name+"[].", inner.Elem())...)
		default:
			list = append(list, prefix+name)
		}
	}
	return list
}
