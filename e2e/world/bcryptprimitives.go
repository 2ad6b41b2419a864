//go:build linux

package world

import (
	"bytes"
	"debug/pe"
	"encoding/binary"
)

// bcryptprimitives is the library from which a Go program takes its random numbers on Windows. Wine 8 has none. It holds no
// code: its one export, ProcessPrng, is forwarded to RtlGenRandom, which advapi32 exports as SystemFunction036 and which takes
// the same arguments.
func bcryptprimitives() []byte {
	const (
		headers = 0x200  // the headers' size in the file, and the section's
		section = 0x1000 // where the section is in memory
		library = "bcryptprimitives.dll\x00"
		export  = "ProcessPrng\x00"
		forward = "advapi32.SystemFunction036\x00"
	)
	type directory struct { // IMAGE_EXPORT_DIRECTORY, and the tables that it points to
		Characteristics, TimeDateStamp                            uint32
		MajorVersion, MinorVersion                                uint16
		Name, Base, NumberOfFunctions, NumberOfNames              uint32
		AddressOfFunctions, AddressOfNames, AddressOfNameOrdinals uint32

		Function, ExportName uint32 // a function whose address is inside the section is a forward
		Ordinal              uint16
	}
	const (
		tables = section + 40
		texts  = tables + 10
		size   = texts - section + len(library+export+forward)
	)
	dir := directory{
		Base: 1, NumberOfFunctions: 1, NumberOfNames: 1,
		AddressOfFunctions: tables, AddressOfNames: tables + 4, AddressOfNameOrdinals: tables + 8,
		Name: texts, ExportName: texts + uint32(len(library)), Function: texts + uint32(len(library+export)),
	}
	optional := pe.OptionalHeader64{
		Magic: 0x20b, ImageBase: 0x180000000, SectionAlignment: section, FileAlignment: headers,
		MajorOperatingSystemVersion: 6, MajorSubsystemVersion: 6, SizeOfImage: 2 * section, SizeOfHeaders: headers,
		SizeOfInitializedData: headers, Subsystem: pe.IMAGE_SUBSYSTEM_WINDOWS_CUI,
		DllCharacteristics:  pe.IMAGE_DLLCHARACTERISTICS_DYNAMIC_BASE | pe.IMAGE_DLLCHARACTERISTICS_NX_COMPAT,
		NumberOfRvaAndSizes: 16,
	}
	optional.DataDirectory[pe.IMAGE_DIRECTORY_ENTRY_EXPORT] = pe.DataDirectory{VirtualAddress: section, Size: uint32(size)}

	var b bytes.Buffer
	write := func(data any) { binary.Write(&b, binary.LittleEndian, data) } // a Buffer takes everything
	write([]byte("MZ"))
	write(make([]byte, 58))
	write(uint32(0x40)) // where the next is
	write([]byte("PE\x00\x00"))
	write(pe.FileHeader{
		Machine: pe.IMAGE_FILE_MACHINE_AMD64, NumberOfSections: 1, SizeOfOptionalHeader: uint16(binary.Size(optional)),
		Characteristics: pe.IMAGE_FILE_EXECUTABLE_IMAGE | pe.IMAGE_FILE_LARGE_ADDRESS_AWARE | pe.IMAGE_FILE_DLL,
	})
	write(optional)
	write(pe.SectionHeader32{
		Name: [8]uint8([]byte(".edata\x00\x00")), VirtualSize: uint32(size), VirtualAddress: section,
		SizeOfRawData: headers, PointerToRawData: headers,
		Characteristics: pe.IMAGE_SCN_CNT_INITIALIZED_DATA | pe.IMAGE_SCN_MEM_READ,
	})
	write(make([]byte, headers-b.Len()))
	write(dir)
	write([]byte(library + export + forward))
	write(make([]byte, 2*headers-b.Len()))
	return b.Bytes()
}
