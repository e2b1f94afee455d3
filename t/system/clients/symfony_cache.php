<?php
require __DIR__ . '/checks.php';
require 'Symfony/Component/Cache/autoload.php';
require 'Predis/autoload.php';

use Symfony\Component\Cache\Adapter\RedisAdapter;

$redis = new Redis();
$redis->connect($argv[1]);
$clients = ['phpredis' => $redis, 'predis' => new Predis\Client(['scheme' => 'unix', 'path' => $argv[1]])];

foreach ($clients as $name => $client) {
    $pool = new RedisAdapter($client, "ns$name", 0);
    $pool->clear();
    check("$name: get set delete", function () use ($pool) {
        $computed = 0;
        $compute = function ($item) use (&$computed) {
            $item->expiresAfter(60);
            return ['n' => ++$computed];
        };
        same(['n' => 1], $pool->get('k', $compute));
        same(['n' => 1], $pool->get('k', $compute));
        same(true, $pool->hasItem('k'));
        same(true, $pool->delete('k'));
        same(['n' => 2], $pool->get('k', $compute));
    });
    check("$name: many", function () use ($pool) {
        foreach (range(1, 50) as $i) {
            $pool->saveDeferred($pool->getItem("m$i")->set($i)->expiresAfter($i % 2 ? 60 : null));
        }
        same(true, $pool->commit());
        $values = [];
        foreach ($pool->getItems(['m1', 'm50', 'nope']) as $key => $item) {
            $values[$key] = $item->get();
        }
        same(['m1' => 1, 'm50' => 50, 'nope' => null], $values);
        same(true, $pool->deleteItems(['m1', 'm2']));
        same(false, $pool->hasItem('m1'));
    });
    check("$name: clear one namespace", function () use ($pool, $client) {
        $other = new RedisAdapter($client, 'other', 0);
        $other->save($other->getItem('stays')->set(1));
        same(true, $pool->clear());
        same(false, $pool->hasItem('m50'));
        same(true, $other->hasItem('stays'));
        same(true, $other->clear());
        same(false, $other->hasItem('stays'));
    });
    check("$name: clear everything", function () use ($client) {
        $all = new RedisAdapter($client, '', 0);
        $all->save($all->getItem('k')->set(1));
        same(true, $all->clear());
        same(false, $all->hasItem('k'));
    });
}
