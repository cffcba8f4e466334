package hsm

/*
#include <stdlib.h>
#include <string.h>

// The parameter structures of the *_ENCRYPT_DATA mechanisms, PKCS#11 v2.40
// mechanisms, section 2.15.2. Unix builds use the natural alignment.
typedef struct { unsigned char *data; unsigned long len; } string_data;
typedef struct { unsigned char iv[16]; unsigned char *data; unsigned long len; } aes_cbc_data;
*/
import "C"

import (
	"unsafe"

	"github.com/miekg/pkcs11"
)

// ecbData builds the parameter of CKM_AES_ECB_ENCRYPT_DATA and
// CKM_DES3_ECB_ENCRYPT_DATA, a CK_KEY_DERIVATION_STRING_DATA. miekg/pkcs11 has
// no type for it, and the structure points at its data: that has to stay in C
// memory until the call is over, when free is to be called.
func ecbData(mechanism uint, data []byte) (_ *pkcs11.Mechanism, free func()) {
	p := C.CBytes(data)
	param := C.string_data{data: (*C.uchar)(p), len: C.ulong(len(data))}
	b := C.GoBytes(unsafe.Pointer(&param), C.int(unsafe.Sizeof(param)))
	return pkcs11.NewMechanism(mechanism, b), func() { C.free(p) }
}

// cbcData builds the parameter of CKM_AES_CBC_ENCRYPT_DATA, a
// CK_AES_CBC_ENCRYPT_DATA_PARAMS, with an IV of zeros. See ecbData for free.
func cbcData(mechanism uint, data []byte) (_ *pkcs11.Mechanism, free func()) {
	p := C.CBytes(data)
	param := C.aes_cbc_data{data: (*C.uchar)(p), len: C.ulong(len(data))}
	b := C.GoBytes(unsafe.Pointer(&param), C.int(unsafe.Sizeof(param)))
	return pkcs11.NewMechanism(mechanism, b), func() { C.free(p) }
}
