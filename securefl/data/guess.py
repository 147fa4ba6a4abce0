"""Which column of a file is which, from its name in several languages, and then its cells."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from securefl.config.files import FileFormat
from securefl.data.sources.files.engine import name, select, text
from securefl.data.sources.files.expressions import ISO, is_text
from securefl.data.sources.files.labels import folded
from securefl.data.sources.files.scans import Scan, forget_rejects
from securefl.data.sources.files.sniff import Written, written

LINE_COLUMNS: Final = (
    "customer",
    "product",
    "time",
    "quantity",
    "value",
    "price",
    "basket",
    "discount",
)
REQUIRED: Final = ("customer", "product", "time", "quantity")

_WORDS: Final[Mapping[str, str]] = {
    "customer": "customer customerid custid customerno customernumber client clientid shopper"
    " household householdid loyaltycard loyaltyid loyaltynumber"
    " card cardid cardno cardnumber member memberid user userid"
    " kunde kundenid kundennr kundennummer kdnr kundenkarte karte kartennummer"
    " idclient numclient numeroclient codeclient carte carteclient cartefidelite"
    " cliente clienteid idcliente codigocliente tarjeta socio codicecliente tessera"
    " klant klantid klantnr klantnummer klantenkaart klient klientid idklienta nrklienta karta"
    " codcliente cartao",
    "product": "product productid productcode sku item itemid itemno itemcode gtin ean ean13 upc"
    " barcode plu stockcode article articleid articleno"
    " artikel artikelid artikelnr artikelnummer artnr produkt produktid"
    " produit produitid idproduit codeproduit codearticle refproduit reference"
    " producto productoid idproducto codigoproducto articulo codigoarticulo referencia"
    " prodotto codiceprodotto idprodotto articolo codicearticolo"
    " artikelcode towar kodtowaru kodproduktu idproduktu indeks"
    " produto codproduto idproduto artigo codigo codigobarras",
    "time": "time timestamp datetime date day when soldat purchasedate orderdate invoicedate"
    " transactiondate saledate salesdate"
    " datum zeit zeitpunkt kaufdatum verkaufsdatum belegdatum bondatum rechnungsdatum"
    " dateheure datevente dateachat datefacture heure"
    " fecha fechahora fechaventa fechacompra data dataora datavendita dataacquisto"
    " tijdstip verkoopdatum aankoopdatum datasprzedazy datazakupu czas datahora datavenda",
    "quantity": "quantity qty units unit count pieces"
    " menge anzahl stueck stuck stuckzahl stueckzahl quantite qte nombre"
    " cantidad unidades uds quantita qta pezzi aantal hoeveelheid stuks"
    " ilosc liczba sztuki quantidade qtd qtde",
    "value": "value linevalue linetotal total totalprice amount paid revenue sales salesvalue"
    " turnover spend net netvalue"
    " betrag umsatz summe gesamt gesamtpreis zeilenbetrag positionsbetrag"
    " montant montantttc prixtotal chiffreaffaires ca importe importetotal"
    " importo totale bedrag omzet totaal wartosc kwota suma wartoscbrutto valor valortotal",
    "price": "price unitprice priceperunit itemprice"
    " preis einzelpreis stueckpreis stuckpreis verkaufspreis prix prixunitaire pu"
    " precio preciounitario pvp prezzo prezzounitario prijs stukprijs eenheidsprijs"
    " cena cenajednostkowa preco precounitario",
    "basket": "basket basketid receipt receiptid receiptno receiptnumber ticket ticketid"
    " invoice invoiceid invoiceno invoicenumber transaction transactionid order orderid orderno"
    " bon bonnr bonnummer bonid kassenbon beleg belegnr belegnummer rechnung rechnungsnr"
    " rechnungsnummer panier idpanier numticket facture numfacture"
    " recibo factura numfactura scontrino numeroscontrino fattura"
    " kassabon factuur factuurnummer paragon nrparagonu faktura nrfaktury fatura cupom",
    "discount": "discount discountamount rebate rabatt nachlass remise descuento sconto korting"
    " rabat znizka desconto",
    "department": "department dept division abteilung bereich rayon departement departamento"
    " seccion reparto afdeling dzial seccao",
    "category": "category productcategory group productgroup warengruppe kategorie produktgruppe"
    " categorie famille categoria familia productgroep kategoria grupa",
    "kind": "kind subcategory subgroup type producttype unterkategorie untergruppe art"
    " souscategorie sousfamille subcategoria sottocategoria subgroep podkategoria tipo",
    "brand": "brand manufacturer marke hersteller marque marca merk marka producent",
    "size": "size packsize packagesize groesse grosse packung taille tamano formato maat rozmiar"
    " tamanho",
}
ROLES: Final[Mapping[str, tuple[str, ...]]] = {
    role: tuple(words.split()) for role, words in _WORDS.items()
}
"""Role to the names that columns of it have, folded, most telling first."""

_ENOUGH: Final = 0.9


@dataclass(frozen=True)
class Guess:
    """What was found out about one file.

    Attributes:
        roles: Role to the file's column; the schema's columns, and levels of a catalogue.
        format: How the file is written, as far as it needs a word.
        columns: All columns of the file.
    """

    roles: dict[str, str]
    format: FileFormat
    columns: tuple[str, ...]

    @property
    def missing(self) -> tuple[str, ...]:
        """Roles that a file of transactions needs and that no column seems to have."""
        amount = () if {"value", "price"} & self.roles.keys() else ("value",)
        return (*(role for role in REQUIRED if role not in self.roles), *amount)


def guess(scan: Scan, given: Mapping[str, str]) -> Guess:
    """Guess the columns of a file, and how it is written.

    Args:
        scan: The file, open.
        given: Role to the column that a person said it is.
    """
    columns = tuple(scan.types)
    roles = _by_name(columns, given)
    if "time" not in roles and (found := _dates(scan, roles)):
        roles["time"] = found
    if "value" in roles and "price" in roles:
        del roles["price"]  # what was paid for a line needs no multiplication
    numbers = [roles[role] for role in ("quantity", "value", "price") if role in roles]
    times = [roles["time"]] if "time" in roles else []
    how = written(scan, FileFormat(), numbers, times)
    return Guess(roles, _format(scan, how), columns)


def _by_name(columns: Sequence[str], given: Mapping[str, str]) -> dict[str, str]:
    """Return role to column; of two that fit, the one whose name says it best."""
    roles = dict(given)
    plain = {folded(column): column for column in reversed(columns)}
    for role, words in ROLES.items():
        free = {word: column for word, column in plain.items() if column not in roles.values()}
        if role not in roles:
            found = next((free[word] for word in words if word in free), None)
            if found is not None:
                roles[role] = found
    return roles


def _dates(scan: Scan, roles: Mapping[str, str]) -> str | None:
    """Return the only further column whose cells are days or times, if there is one."""
    found = []
    for column, kind in scan.types.items():
        if column in roles.values():
            continue
        typed = kind.startswith(("TIMESTAMP", "DATE"))
        if typed or (is_text(kind) and _share_of_dates(scan, column) > _ENOUGH):
            found.append(column)
    return found[0] if len(found) == 1 else None


def _share_of_dates(scan: Scan, column: str) -> float:
    pattern = text(ISO + r"|\d{1,2}[./-]\d{1,2}[./-]\d{4}( .*)?")
    share = f"avg(regexp_full_match(trim({name(column)}), {pattern})::INT)"
    sample = f"({select(name(column), scan.relation, 'LIMIT 5000')})"
    found = scan.connection.execute(select(share, sample)).fetchone()
    forget_rejects(scan)
    return float(found[0] or 0.0) if found else 0.0


def _format(scan: Scan, how: Written) -> FileFormat:
    """Return what a configuration should say, so that it does not have to be found out again."""
    said: dict[str, object] = {}
    if scan.dialect is not None:
        if scan.dialect.guessed_encoding:
            said["encoding"] = scan.dialect.encoding
        if scan.dialect.separator != ",":
            said["separator"] = scan.dialect.separator
    if how.decimal != ".":
        said["decimal"] = how.decimal
    if how.time != "iso" and not how.problem:
        said["time"] = how.time
    return FileFormat.model_validate(said)
